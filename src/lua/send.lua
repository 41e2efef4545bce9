-- Items for one end of a pipe. ARGV[3] that end, ARGV[4] '1' if the sender's task is acknowledged by this, then the items.
-- Replies 'ok', or 'broken' where nobody holds that end.
local to = ARGV[3]
local f, again = open('n' .. to)
if again then return again end
if tonumber(f[3]) <= 0 then return answer('broken') end
local key = M .. ':q' .. to
for i = 5, #ARGV do call('RPUSH', key, ARGV[i]) end
keep(key)
if ARGV[4] == '1' then call('LTRIM', M .. ':I:' .. CALLER, -1, -1) end
return answer('ok')
