-- One holder more of one end. ARGV[3] holder, ARGV[4] end.
local _, again = open('ttl')
if again then return again end
if call('HSETNX', M, 'h' .. ARGV[4] .. ':' .. ARGV[3], 1) == 1 then call('HINCRBY', M, 'n' .. ARGV[4], 1) end
return 'ok'
