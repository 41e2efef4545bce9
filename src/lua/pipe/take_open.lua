-- A thread will take from one end: its in-flight list. ARGV[3] end.
-- The anchor keeps the list, and with it its time to live, when it holds nothing.
local _, again = open('ttl')
if again then return again end
local key = M .. ':I:' .. CALLER
call('HSET', M, 'I:' .. CALLER, ARGV[3])
if call('EXISTS', key) == 0 then call('RPUSH', key, 'A') end
keep(key)
return 'ok'
