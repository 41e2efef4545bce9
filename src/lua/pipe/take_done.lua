-- The item that this thread took from the pipe has arrived. ARGV[4] its end, ARGV[5] its size.
-- Numbered like any script: repeated after the next take it must do nothing.
local fields, answered = open(BOUND)
if answered then return answered end
arrived()
taken(ARGV[4], ARGV[5], fields[3])
return answer('ok')
