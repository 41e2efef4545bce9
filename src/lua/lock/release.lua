-- One unit back. ARGV[4] the maximum, ARGV[5] the versions. Replies 'ok' or 'over'.
local fields, answered = open(VALUE, HAS_WAITED)
if answered then return answered end
if is_moving and (fields[4] or ARGV[5] ~= '' and not is_here(VERSIONS)) then return on_its_way() end
leave_versions(ARGV[5])
local value = tonumber(fields[3])
if value >= tonumber(ARGV[4]) then return answer('over') end
local waiter = value == 0 and fields[4] and call('LPOP', OBJECT .. WAITERS)
if waiter then
  wake(waiter, 'ok ' .. versions())
  return answer('ok')
end
call('HSET', OBJECT, VALUE, value + 1, ANSWER .. CALLER, SEQ .. ' ok')
return 'ok'
