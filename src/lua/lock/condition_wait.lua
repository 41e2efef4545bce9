-- Gives the lock back and begins to wait, in one step.
-- KEYS[2] the lock. ARGV[4] the lock's maximum, ARGV[5] the versions.
local _, answered = open()
if answered then return answered end
local value = call('HGET', KEYS[2], VALUE)
if not value then return redis.error_reply(LOST .. ' ' .. KEYS[2]) end
if tonumber(value) >= tonumber(ARGV[4]) then return answer(OVER) end
leave_versions(ARGV[5], KEYS[2])
release(ARGV[4], KEYS[2])
return wait()
