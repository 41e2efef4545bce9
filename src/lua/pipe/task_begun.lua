-- A task was taken from one end (ARGV[4]), of this size (ARGV[5]), by this waiter or '' (ARGV[6]). It no longer counts against
-- the pipe's bound; its result acknowledges it.
local fields, answered = open(BOUND, HAS_WAITED, FILL .. ARGV[4])
if answered then return answered end
if is_moving and (fields[4] or ARGV[6] ~= '' or not is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
if ARGV[6] ~= '' then revoke(ARGV[6]) end
-- A task whose reply was lost is taken again, and counts once.
if call('HSET', OBJECT, WORKS .. CALLER, 1) == 0 then return answer(OK) end
return answer(OK, taken(ARGV[4], ARGV[5], fields[3], fields[4], fields[5]))
