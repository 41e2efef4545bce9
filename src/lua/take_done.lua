-- What this thread took from the pipe has arrived. Numbered like any script: repeated after the next take it must do nothing.
local _, again = open('ttl')
if again then return again end
call('LTRIM', M .. ':I:' .. CALLER, -1, -1)
return answer('ok')
