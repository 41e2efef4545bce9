-- One holder less. ARGV[3] holder, then the ends. An absent object has been left already.
if call('EXISTS', M) == 0 then return 'ok' end
TTL = call('HGET', M, 'ttl')
leave(ARGV[3], {unpack(ARGV, 4)})
return 'ok'
