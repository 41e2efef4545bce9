-- Wakes up to ARGV[4] waiters. Replies how many.
local _, answered = open()
if answered then return answered end
local count = 0
while count < tonumber(ARGV[4]) do
  local waiter = call('LPOP', OBJECT .. WAITERS)
  if not waiter then break end
  wake(waiter, OK .. ' ')
  count = count + 1
end
return answer(tostring(count))
