-- A thread will take from one end: its in-flight list. ARGV[4] end.
-- The anchor keeps the list, and with it its time to live, when it holds nothing.
local _, refused = look()
if refused then return refused end
local key = OBJECT .. IN_FLIGHT .. CALLER
call('HSET', OBJECT, TAKES .. CALLER, ARGV[4])
if call('EXISTS', key) == 0 then call('RPUSH', key, 'A') end
renew_ttl(key)
return 'ok'
