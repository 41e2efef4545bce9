-- Takes one unit. ARGV[4] '1' to wait for it, ARGV[5] how often the versions had changed when the caller last saw them.
-- Replies as `grant` does, 'no', or 'wait WAITER': a token will come.
local fields, answered = open(VALUE, CHANGES, SEEN_BY)
if fields[4] and not is_here(VERSIONS) then return on_its_way() end
if answered == OK then return grant() end
if answered then return answered end
local value = tonumber(fields[3])
if value > 0 then
  call('HSET', OBJECT, VALUE, value - 1, ANSWER .. CALLER, SEQ .. ' ' .. OK)
  if not fields[4] or fields[5] == own_name() .. ' ' .. fields[4] then return OK .. ' ' end
  return grant(OBJECT, ARGV[5])
end
if ARGV[4] == '0' then return answer(NO) end
if not is_here(WAITERS) then return on_its_way() end
return wait()
