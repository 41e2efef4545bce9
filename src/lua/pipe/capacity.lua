-- Whether a pipe has capacity left for one end (ARGV[4]). Replies 'ok', also if nobody holds that end, or 'wait WAITER'.
local to = ARGV[4]
local fields, answered = open(HOLDERS .. to, FILL .. to, BOUND)
if answered then return answered end
if tonumber(fields[3]) > 0 and is_full(to, fields[4], fields[5]) then return wait() end
return answer(OK)
