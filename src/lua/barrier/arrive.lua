-- One party arrives. ARGV[4] the parties, ARGV[5] '1' if the last one has an action to run, ARGV[6] the versions. Replies
-- 'broken', 'wait INDEX WAITER', 'act INDEX VERSIONS' or 'ok INDEX VERSIONS'. The tokens of waiters are 'ok VERSIONS' or 'broken'.
local fields, answered = open(BROKEN, ARRIVED)
if answered then return answered end
if fields[3] == '1' then return answer(IS_BROKEN) end
leave_versions(ARGV[6])
local index = tonumber(fields[4])
if index + 1 < tonumber(ARGV[4]) then
  call('HSET', OBJECT, ARRIVED, index + 1)
  local waiter = own_waiter()
  push(OBJECT .. WAITERS, waiter)
  return answer(WAIT .. ' ' .. index .. ' ' .. waiter, HAS_WAITED, 1)
end
call('HSET', OBJECT, ARRIVED, 0)
if ARGV[5] == '1' then
  -- The parties of this round move to a list of their own, so that a fast one can arrive for the next round.
  if call('EXISTS', OBJECT .. WAITERS) == 1 then call('RENAME', OBJECT .. WAITERS, OBJECT .. ACTING) end
  return answer(ACT .. ' ' .. index .. ' ' .. versions())
end
wake_all(WAITERS, OK .. ' ' .. versions())
return answer(OK .. ' ' .. index .. ' ' .. versions())
