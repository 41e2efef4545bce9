-- One holder more of one end. ARGV[3] holder, ARGV[4] end.
local _, answered = open()
if answered then return answered end
if call('HSETNX', OBJECT, HOLDER .. ARGV[4] .. ':' .. ARGV[3], 1) == 1 then call('HINCRBY', OBJECT, HOLDERS .. ARGV[4], 1) end
return 'ok'
