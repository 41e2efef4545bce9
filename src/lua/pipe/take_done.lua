-- The item that this thread took from the pipe has arrived. ARGV[3] its end, ARGV[4] its size.
-- Numbered like any script: repeated after the next take it must do nothing.
local fields, answered = open(BOUND)
if answered then return answered end
call('LTRIM', OBJECT .. IN_FLIGHT .. CALLER, -1, -1)
taken(ARGV[3], ARGV[4], fields[3])
return answer('ok')
