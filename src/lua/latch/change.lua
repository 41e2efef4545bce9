-- A count whose waiters pass at zero: an event (0 set, 1 clear), or the unfinished tasks of a queue.
-- ARGV[3] '=' or '+', ARGV[4] amount, ARGV[5] map. Replies 'ok', or 'under' where the count would be negative.
local f, again = open('z')
if again then return again end
local n = tonumber(ARGV[4])
if ARGV[3] == '+' then n = n + tonumber(f[3]) end
if n < 0 then return answer('under') end
merge(ARGV[5])
call('HSET', M, 'z', n)
if n == 0 then
  local token = 'ok ' .. map()
  for _, waiter in ipairs(call('LRANGE', M .. ':w', 0, -1)) do wake(waiter, token) end
  call('DEL', M .. ':w')
end
return answer('ok')
