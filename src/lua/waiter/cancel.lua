-- A waiter gives up. ARGV[4] the waiter, ARGV[5] what becomes of a token that came before: '' the waiter takes it, a 'unit' goes
-- back to its semaphore, a 'notification' to the next who waits for one, 'news' is of no use any more.
-- Replies 'gone', or the token.
local _, answered = open()
if answered then return answered end
if call('LREM', OBJECT .. WAITERS, 0, ARGV[4]) > 0 then return answer('gone') end
local token = revoke(ARGV[4])
if token and ARGV[5] == 'unit' then
  release(2147483647)
elseif token and ARGV[5] == 'notification' then
  local next = call('LPOP', OBJECT .. WAITERS)
  if next then wake(next, token) end
end
return answer(token or 'gone')
