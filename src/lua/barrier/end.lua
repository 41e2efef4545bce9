-- Ends a round. ARGV[4] 'go': the action has run; 'break': abort, time-out or failed action; 'reset'. ARGV[5] the versions.
local _, answered = open()
if answered then return answered end
leave_versions(ARGV[5])
if ARGV[4] == PASS then
  wake_all(ACTING, OK .. ' ' .. versions())
  return answer(OK)
end
wake_all(ACTING, IS_BROKEN)
wake_all(WAITERS, IS_BROKEN)
call('HSET', OBJECT, ARRIVED, 0, BROKEN, ARGV[4] == BREAK and 1 or 0)
return answer(OK)
