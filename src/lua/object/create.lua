-- Creates an object. ARGV[4] time to live in ms (0: none), ARGV[5] the holder, ARGV[6] the number of ends, then fields and
-- values.
if call('EXISTS', OBJECT) == 1 then return OK end
ttl = ARGV[4]
call('HSET', OBJECT, TTL, ttl, unpack(ARGV, 7))
for e = 0, tonumber(ARGV[6]) - 1 do call('HSET', OBJECT, HOLDERS .. e, 1, HOLDER .. e .. ':' .. ARGV[5], 1) end
renew_ttl(OBJECT)
return OK
