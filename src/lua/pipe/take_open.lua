-- A thread will take from one end: its in-flight list. ARGV[4] end, ARGV[5] how many wait at the list of items; others stand in a line.
-- The anchor keeps the list, and with it its time to live, when it holds nothing.
local _, refused = look()
if refused then return refused end
local key = OBJECT .. IN_FLIGHT .. CALLER
local count = call('HSETNX', OBJECT, TAKES .. CALLER, ARGV[4])
count = call('HINCRBY', OBJECT, OPENED .. ARGV[4], count)
if call('EXISTS', key) == 0 then call('RPUSH', key, 'A') end
renew_ttl(key)
return count > tonumber(ARGV[5]) and 'line' or 'list'
