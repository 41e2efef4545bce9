-- A new object. ARGV[3] time to live in ms (0: none), ARGV[4] holder, ARGV[5] number of ends, then fields and values.
if call('EXISTS', OBJECT) == 1 then return 'ok' end
ttl = ARGV[3]
call('HSET', OBJECT, TTL, ttl, unpack(ARGV, 6))
for e = 0, tonumber(ARGV[5]) - 1 do call('HSET', OBJECT, HOLDERS .. e, 1, HOLDER .. e .. ':' .. ARGV[4], 1) end
renew_ttl(OBJECT)
return 'ok'
