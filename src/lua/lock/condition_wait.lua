-- Gives the lock back and begins to wait, in one step.
-- KEYS[2] the lock. ARGV[3] the lock's maximum, ARGV[4] the map.
local _, again = open('ttl')
if again then return again end
call('RPUSH', M .. ':w', CALLER .. ':' .. NUMBER)
keep(M .. ':w')
merge(ARGV[4], KEYS[2])
if not release(ARGV[3], KEYS[2]) then return answer('over') end
return answer('wait ' .. CALLER .. ':' .. NUMBER)
