-- Gives the lock back and begins to wait, in one step.
-- KEYS[2] the lock. ARGV[3] the lock's maximum, ARGV[4] the versions.
local _, answered = open()
if answered then return answered end
local waiter = join_waiters()
leave_versions(ARGV[4], KEYS[2])
if not release(ARGV[3], KEYS[2]) then return answer('over') end
return answer('wait ' .. waiter)
