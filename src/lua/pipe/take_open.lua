-- A thread begins to take from one end; makes its in-flight list. ARGV[4] the end, ARGV[5] how many threads may wait at the
-- list of items; the others queue as takers. The anchor keeps the list, and with it its time to live, while the list holds no
-- item. Replies 'list', 'line', or 'wait WAITER' while another thread has read ahead from that end.
local fields, answered = open(AHEAD .. ARGV[4])
if answered then return answered end
local key = OBJECT .. IN_FLIGHT .. CALLER
local count = call('HSETNX', OBJECT, TAKES .. CALLER, ARGV[4])
count = call('HINCRBY', OBJECT, OPENED .. ARGV[4], count)
if call('EXISTS', key) == 0 then call('RPUSH', key, ANCHOR) end
renew_ttl(key)
if fields[3] and fields[3] ~= CALLER then return wait() end
return answer(count > tonumber(ARGV[5]) and LINE or LIST)
