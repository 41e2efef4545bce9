-- Takes one unit. ARGV[4] '1' to wait for it, '?' to take none and only wait until it is known whether there is one, ARGV[5] how
-- often the versions had changed when the caller last saw them, ARGV[6] the number of a loan: a lock that is free is then lent to
-- the caller's process; or ''. A lock that is lent is recalled; it is not known whether it is held, so a caller that would not
-- wait waits for that. Replies as `grant` does, 'no', or 'wait WAITER': a token will come.
local fields, answered = open(VALUE, CHANGES, SEEN_BY, LENT_TO, TAKEN_BY, GUARDED)
if fields[4] and not is_here(VERSIONS) then return on_its_way() end
if answered == OK or answered == LENT then return grant(OBJECT, nil, answered) end
if answered then return answered end
local value, lent_to = tonumber(fields[3]), fields[6]
if ARGV[4] == '?' and not lent_to then return answer(NO) end
if value > 0 then
  local word = ARGV[6] ~= '' and not is_moving and LENT or OK
  call('HSET', OBJECT, VALUE, value - 1, ANSWER .. CALLER, SEQ .. ' ' .. word)
  if fields[7] then call('HSET', OBJECT, TAKEN_BY, (own_name())) end
  if word == LENT then call('HSET', OBJECT, LENT_TO, own_name() .. ':' .. ARGV[6]) end
  if not fields[4] or fields[5] == own_name() .. ' ' .. fields[4] then return word .. ' ' end
  return grant(OBJECT, ARGV[5], word, {changes = fields[4], guarded = fields[8] or ''})
end
if ARGV[4] == '0' and not lent_to then return answer(NO) end
if not is_here(WAITERS) then return on_its_way() end
local waiter = own_waiter()
if lent_to then
  if ARGV[4] ~= '1' then call('HSET', OBJECT, IMPATIENT, (call('HGET', OBJECT, IMPATIENT) or '') .. waiter .. ' ') end
  recall()
end
if ARGV[4] == '?' then return answer(WAIT .. ' ' .. waiter) end
return wait()
