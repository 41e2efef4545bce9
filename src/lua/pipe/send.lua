-- Items for one end of a pipe. ARGV[4] that end, ARGV[5] '1' if the sender's task is acknowledged by this, ARGV[6] '1' if the
-- sender waits for capacity, ARGV[7] the size of the items in bytes, then the items.
-- Replies 'ok', 'broken' where nobody holds that end, or 'wait WAITER' where the pipe is full.
local to = ARGV[4]
local fields, answered = open(HOLDERS .. to, FILL .. to, BOUND)
if answered then return answered end
if tonumber(fields[3]) <= 0 then return answer('broken') end
if ARGV[6] == '1' and is_full(to, fields[4], fields[5]) then return wait() end
local key = OBJECT .. ITEMS .. to
for i = 8, #ARGV do call('RPUSH', key, ARGV[i]) end
renew_ttl(key)
if fields[5] then call('HINCRBY', OBJECT, FILL .. to, ARGV[7]) end
if ARGV[5] == '1' then
  arrived()
  call('HDEL', OBJECT, WORKS .. CALLER)
end
return answer('ok')
