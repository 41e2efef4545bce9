-- Adds a holder to one end. ARGV[4] the holder, ARGV[5] the end.
local _, refused = read()
if refused then return refused end
if call('HSETNX', OBJECT, HOLDER .. ARGV[5] .. ':' .. ARGV[4], 1) == 1 then call('HINCRBY', OBJECT, HOLDERS .. ARGV[5], 1) end
return OK
