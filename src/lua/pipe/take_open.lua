-- A thread will take from one end: its in-flight list. ARGV[3] end.
-- The anchor keeps the list, and with it its time to live, when it holds nothing.
local _, answered = open()
if answered then return answered end
local key = OBJECT .. IN_FLIGHT .. CALLER
call('HSET', OBJECT, TAKES .. CALLER, ARGV[3])
if call('EXISTS', key) == 0 then call('RPUSH', key, 'A') end
renew_ttl(key)
return 'ok'
