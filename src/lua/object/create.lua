-- A new object. ARGV[3] time to live in ms (0: none), ARGV[4] holder, ARGV[5] number of ends, then fields and values.
if call('EXISTS', M) == 1 then return 'ok' end
TTL = ARGV[3]
call('HSET', M, 'ttl', TTL, unpack(ARGV, 6))
for e = 0, tonumber(ARGV[5]) - 1 do call('HSET', M, 'n' .. e, 1, 'h' .. e .. ':' .. ARGV[4], 1) end
keep(M)
return 'ok'
