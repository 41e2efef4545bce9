-- ARGV[3] '1' to wait. Replies 'ok' and the map where the count is zero, else 'no' or 'wait WAITER'.
local f, again = open('z')
if again then return again end
if tonumber(f[3]) == 0 then return 'ok ' .. map() end
if ARGV[3] == '0' then return 'no' end
return wait_in(':w')
