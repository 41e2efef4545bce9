-- How many items one end (ARGV[4]) has to take, the end of file not counted, and whether that stands behind them.
local _, refused = look()
if refused then return refused end
local key = OBJECT .. ITEMS .. ARGV[4]
local length = call('LLEN', key)
if length > 0 and call('LINDEX', key, -1) == 'E' then return {length - 1, 1} end
return {length, 0}
