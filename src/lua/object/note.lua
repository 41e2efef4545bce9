-- Notes an object in an index: of a session, or of what a process holds. ARGV[4] the object.
local _, refused = look()
if refused then return refused end
call('SADD', OBJECT .. HELD, ARGV[4])
renew_ttl(OBJECT .. HELD)
return OK
