-- Items for one end of a pipe. ARGV[3] that end, ARGV[4] '1' if the sender's task is acknowledged by this, ARGV[5] '1' if the
-- sender waits for room, ARGV[6] what the items weigh, then the items.
-- Replies 'ok', 'broken' where nobody holds that end, or 'wait WAITER' where there is no room.
local to = ARGV[3]
local f, again = open('n' .. to, 'b' .. to, 'bound')
if again then return again end
if tonumber(f[3]) <= 0 then return answer('broken') end
if ARGV[5] == '1' and is_full(to, f[4], f[5]) then return wait_in(':w') end
local key = M .. ':q' .. to
for i = 7, #ARGV do call('RPUSH', key, ARGV[i]) end
keep(key)
if f[5] then call('HINCRBY', M, 'b' .. to, ARGV[6]) end
if ARGV[4] == '1' then
  call('LTRIM', M .. ':I:' .. CALLER, -1, -1)
  call('HDEL', M, 'T:' .. CALLER)
end
return answer('ok')
