-- How many items one end (ARGV[3]) has to take, the end of file not counted, and whether that stands behind them.
local _, answered = open()
if type(answered) == 'table' then return answered end
local key = OBJECT .. ITEMS .. ARGV[3]
local length = call('LLEN', key)
if length > 0 and call('LINDEX', key, -1) == 'E' then return {length - 1, 1} end
return {length, 0}
