-- ARGV[3] '1' to wait. Replies 'ok VERSIONS' where the count is zero, else 'no' or 'wait WAITER'.
local fields, answered = open(COUNT)
if answered then return answered end
if tonumber(fields[3]) == 0 then return 'ok ' .. versions() end
if ARGV[3] == '0' then return 'no' end
return wait()
