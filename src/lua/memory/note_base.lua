-- Notes where processes of a machine find the content of a large region (ARGV[4]).
local _, refused = read()
if refused then return refused end
call('HSET', OBJECT, BASE, ARGV[4])
return OK
