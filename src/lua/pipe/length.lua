-- How many items one end has to take, the end of file not counted. ARGV[3] end.
local _, again = open('ttl')
if type(again) == 'table' then return again end
local key = M .. ':q' .. ARGV[3]
local n = call('LLEN', key)
if n > 0 and call('LINDEX', key, -1) == 'E' then return {n - 1, 1} end
return {n, 0}
