-- The item that this thread took from the pipe has arrived. ARGV[4] its end, ARGV[5] its size.
-- Numbered like any script: repeated after the next take it must do nothing.
local fields, answered = open(BOUND, HAS_WAITED)
if answered then return answered end
if is_moving and (fields[4] or not is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
arrived()
taken(ARGV[4], ARGV[5], fields[3], fields[4])
return answer('ok')
