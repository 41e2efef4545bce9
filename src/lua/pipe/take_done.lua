-- Acknowledges the oldest items that this thread has taken. ARGV[4] their end, ARGV[5] their size, ARGV[6] the waiter that one
-- was handed to, or ''; ARGV[7] the number of items; ARGV[8] '1' to be told how many more items there are. The script is
-- numbered: a repetition after the next take must do nothing.
local fields, answered = open(BOUND, HAS_WAITED, AHEAD .. ARGV[4], FILL .. ARGV[4])
if answered then return answered end
if is_moving and (fields[4] or ARGV[6] ~= '' or not is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
local is_last = acknowledge(tonumber(ARGV[7]))
if is_last and fields[5] == CALLER then end_reading_ahead(ARGV[4], fields[4]) end
if ARGV[6] ~= '' then revoke(ARGV[6]) end
local rest = ARGV[8] == '1' and is_here(ITEMS .. ARGV[4]) and tostring(call('LLEN', OBJECT .. ITEMS .. ARGV[4])) or '0'
return answer(rest, taken(ARGV[4], ARGV[5], fields[3], fields[4], fields[6]))
