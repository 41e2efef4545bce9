-- One party arrives. ARGV[3] parties, ARGV[4] '1' if the last one has an action to run, ARGV[5] map.
-- Replies 'broken', 'wait INDEX WAITER', 'act INDEX' or 'ok INDEX map'. Waiters' tokens are 'ok map' or 'broken'.
local f, again = open('broken', 'count')
if again then return again end
if f[3] == '1' then return 'broken' end
merge(ARGV[5])
local index = tonumber(f[4])
if index + 1 < tonumber(ARGV[3]) then
  call('HSET', M, 'count', index + 1)
  call('RPUSH', M .. ':w', CALLER .. ':' .. NUMBER)
  keep(M .. ':w')
  return answer('wait ' .. index .. ' ' .. CALLER .. ':' .. NUMBER)
end
call('HSET', M, 'count', 0)
if ARGV[4] == '1' then
  -- The parties of this round stand aside, so that a fast one can arrive for the next.
  if call('EXISTS', M .. ':w') == 1 then call('RENAME', M .. ':w', M .. ':q0') end
  return answer('act ' .. index)
end
local token = 'ok ' .. map()
for _, waiter in ipairs(call('LRANGE', M .. ':w', 0, -1)) do wake(waiter, token) end
call('DEL', M .. ':w')
return answer('ok ' .. index .. ' ' .. map())
