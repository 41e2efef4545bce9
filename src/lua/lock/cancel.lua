-- A waiter gives up. ARGV[3] the waiter, ARGV[4] what becomes of a token that came before: '' the waiter takes it, a 'unit' goes
-- back to its semaphore, a 'notification' to the next who waits for one, 'news' is of no use any more.
-- Replies 'gone', or the token.
local _, again = open('ttl')
if again then return again end
if call('LREM', M .. ':w', 0, ARGV[3]) > 0 then return answer('gone') end
local key = M .. ':k:' .. ARGV[3]
local token = call('LINDEX', key, 0)
call('DEL', key)
call('HDEL', M, 'g:' .. ARGV[3])
if token and ARGV[4] == 'unit' then
  release(2147483647)
elseif token and ARGV[4] == 'notification' then
  local next = call('LPOP', M .. ':w')
  if next then wake(next, token) end
end
return answer(token or 'gone')
