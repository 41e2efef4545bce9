-- Gives the lock back and begins to wait, in one step.
-- KEYS[2] the lock. ARGV[4] the lock's maximum, ARGV[5] the versions.
local _, answered = open()
if answered then return answered end
local waiter = join_waiters()
leave_versions(ARGV[5], KEYS[2])
if not release(ARGV[4], KEYS[2]) then return answer('over') end
return answer('wait ' .. waiter)
