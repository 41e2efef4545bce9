-- A party's time-out: breaks the barrier, unless the party was woken before. ARGV[4] the waiter.
local _, answered = open()
if answered then return answered end
local token = revoke(ARGV[4])
if token then return answer(token) end
for _, list in ipairs({WAITERS, ACTING}) do
  call('LREM', OBJECT .. list, 0, ARGV[4])
  wake_all(list, IS_BROKEN)
end
call('HSET', OBJECT, ARRIVED, 0, BROKEN, 1)
return answer(IS_BROKEN)
