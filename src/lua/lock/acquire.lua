-- One unit. ARGV[3] '1' to wait for it. Replies 'ok' and the map, 'no', or 'wait WAITER': a token will come.
local f, again = open('v', 'f')
if again == 'ok' then return 'ok ' .. map() end
if again then return again end
local value = tonumber(f[3])
if value > 0 then
  call('HSET', M, 'v', value - 1, 'c' .. CALLER, NUMBER .. ' ok')
  return f[4] and 'ok ' .. map() or 'ok '
end
if ARGV[3] == '0' then return 'no' end
return wait_in(':w')
