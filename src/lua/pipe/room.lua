-- Whether one end of a pipe (ARGV[3]) has room for more. Replies 'ok', also where nobody will take it, or 'wait WAITER'.
local to = ARGV[3]
local f, again = open('n' .. to, 'b' .. to, 'bound')
if again then return again end
if tonumber(f[3]) > 0 and is_full(to, f[4], f[5]) then return wait_in(':w') end
return answer('ok')
