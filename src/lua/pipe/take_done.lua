-- What this thread took from the pipe has arrived. ARGV[3] its end, ARGV[4] what it weighed.
-- Numbered like any script: repeated after the next take it must do nothing.
local f, again = open('bound')
if again then return again end
call('LTRIM', M .. ':I:' .. CALLER, -1, -1)
taken(ARGV[3], ARGV[4], f[3])
return answer('ok')
