-- Adds an object (ARGV[4]) to an index: that of the session, or that of what a process holds.
local _, refused = read()
if refused then return refused end
call('SADD', OBJECT .. HELD, ARGV[4])
renew_ttl(OBJECT .. HELD)
return OK
