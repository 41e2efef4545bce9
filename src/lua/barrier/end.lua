-- ARGV[3] 'go': the action has run; 'break': abort, time-out or failed action; 'reset'. ARGV[4] map.
local _, again = open('broken')
if again then return again end
merge(ARGV[4])
local token = 'broken'
if ARGV[3] == 'go' then token = 'ok ' .. map() end
for _, waiter in ipairs(call('LRANGE', M .. ':q0', 0, -1)) do wake(waiter, token) end
call('DEL', M .. ':q0')
if ARGV[3] == 'go' then return answer('ok') end
for _, waiter in ipairs(call('LRANGE', M .. ':w', 0, -1)) do wake(waiter, token) end
call('DEL', M .. ':w')
call('HSET', M, 'count', 0, 'broken', ARGV[3] == 'break' and 1 or 0)
return answer('ok')
