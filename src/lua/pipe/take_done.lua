-- The items that this thread took first from the pipe have arrived. ARGV[4] their end, ARGV[5] their size, ARGV[6] the waiter that
-- one was handed to, or ''; ARGV[7] how many they are.
-- Numbered like any script: repeated after the next take it must do nothing.
local fields, answered = open(BOUND, HAS_WAITED)
if answered then return answered end
if is_moving and (fields[4] or not is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
arrived(tonumber(ARGV[7]))
if ARGV[6] ~= '' then revoke(ARGV[6]) end
taken(ARGV[4], ARGV[5], fields[3], fields[4])
return answer('ok')
