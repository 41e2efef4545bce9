-- Wakes up to ARGV[3] waiters. Replies how many.
local _, again = open('ttl')
if again then return again end
local n = 0
while n < tonumber(ARGV[3]) do
  local waiter = call('LPOP', M .. ':w')
  if not waiter then break end
  wake(waiter, 'ok ')
  n = n + 1
end
return answer(tostring(n))
