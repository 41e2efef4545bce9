-- ARGV[4] 'go': the action has run; 'break': abort, time-out or failed action; 'reset'. ARGV[5] versions.
local _, answered = open()
if answered then return answered end
leave_versions(ARGV[5])
if ARGV[4] == 'go' then
  wake_all(ACTING, 'ok ' .. versions())
  return answer('ok')
end
wake_all(ACTING, 'broken')
wake_all(WAITERS, 'broken')
call('HSET', OBJECT, ARRIVED, 0, BROKEN, ARGV[4] == 'break' and 1 or 0)
return answer('ok')
