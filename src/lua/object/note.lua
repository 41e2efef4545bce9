-- Notes an object in an index: of a session, or of what a process holds. ARGV[3] the object.
local _, again = open('ttl')
if type(again) == 'table' then return again end
call('SADD', M .. ':held', ARGV[3])
keep(M .. ':held')
return 'ok'
