-- One unit back. ARGV[3] the maximum, ARGV[4] the map. Replies 'ok' or 'over'.
local f, again = open('v')
if again then return again end
merge(ARGV[4])
local value = tonumber(f[3])
if value >= tonumber(ARGV[3]) then return answer('over') end
local waiter = value == 0 and call('LPOP', M .. ':w')
if waiter then
  wake(waiter, 'ok ' .. map())
  return answer('ok')
end
call('HSET', M, 'v', value + 1, 'c' .. CALLER, NUMBER .. ' ok')
return 'ok'
