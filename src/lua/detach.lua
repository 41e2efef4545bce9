-- One holder less of one end. ARGV[3] holder, ARGV[4] end. An absent object has been left already.
if call('EXISTS', M) == 0 then return 'ok' end
TTL = call('HGET', M, 'ttl')
leave(ARGV[3], ARGV[4])
return 'ok'
