-- Changes a count whose waiters pass at zero: an event (0 set, 1 clear), or the unfinished tasks of a queue. ARGV[4] '=' or
-- '+', ARGV[5] the amount, ARGV[6] the versions. Replies 'ok', or 'under' if the count would be negative.
local fields, answered = open(COUNT, HAS_WAITED)
if answered then return answered end
if is_moving and (fields[4] or ARGV[6] ~= '' and not is_here(VERSIONS)) then return on_its_way() end
local count = tonumber(ARGV[5])
if ARGV[4] == '+' then count = count + tonumber(fields[3]) end
if count < 0 then return answer(UNDER) end
leave_versions(ARGV[6])
call('HSET', OBJECT, COUNT, count)
if count == 0 and fields[4] then wake_all(WAITERS, OK .. ' ' .. versions()) end
return answer(OK)
