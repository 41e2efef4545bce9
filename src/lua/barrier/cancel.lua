-- A party's time is over: if nothing woke it before, it breaks the barrier. ARGV[3] the waiter.
local _, again = open('broken')
if again then return again end
local key = M .. ':k:' .. ARGV[3]
local token = call('LINDEX', key, 0)
if token then
  call('DEL', key)
  call('HDEL', M, 'g:' .. ARGV[3])
  return answer(token)
end
for _, list in ipairs({':w', ':q0'}) do
  for _, waiter in ipairs(call('LRANGE', M .. list, 0, -1)) do
    if waiter ~= ARGV[3] then wake(waiter, 'broken') end
  end
  call('DEL', M .. list)
end
call('HSET', M, 'count', 0, 'broken', 1)
return answer('broken')
