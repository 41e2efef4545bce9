-- One holder less. ARGV[3] holder, then the ends. An absent object has been left already.
ttl = call('HGET', OBJECT, TTL)
if not ttl then return 'ok' end
leave(ARGV[3], {unpack(ARGV, 4)})
return 'ok'
