-- Notes an object in an index: of a session, or of what a process holds. ARGV[3] the object.
local _, answered = open()
if type(answered) == 'table' then return answered end
call('SADD', OBJECT .. HELD, ARGV[3])
renew_ttl(OBJECT .. HELD)
return 'ok'
