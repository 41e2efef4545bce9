-- Releases all that an ended process held of one object. ARGV[4] the process, ARGV[5] its exit code, ARGV[6] how often a task
-- may be begun. The results that it had sent are passed on. Items that it had taken and neither acknowledged nor delivered go back
-- to the head; a task begun too often goes to the other end, marked 'D' with the exit code. Of several tasks nobody knows which
-- was in work, and none counts as begun: they are taken one at a time. A unit that was granted and not acknowledged is granted to
-- the next waiter.
local _, refused = read()
if refused then return is_absent(refused) and OK or refused end

local function is_mine(caller) return after(ARGV[4] .. '.', caller) end

local function give_back(caller)
  local list = OBJECT .. IN_FLIGHT .. caller
  local from, bound, has_waited = unpack(call('HMGET', OBJECT, TAKES .. caller, BOUND, HAS_WAITED))
  local function take_from_fill(size)
    local field, left = taken(from, size, bound, has_waited, call('HGET', OBJECT, FILL .. from))
    if field then call('HSET', OBJECT, field, left) end
  end
  -- A task that was counted as taken counts against the bound again; any other item still does.
  local counted, batch = call('HDEL', OBJECT, WORKS .. caller) == 0, call('HGET', OBJECT, BATCH .. caller)
  if batch and not counted then
    local results, size, last = results_of(caller, batch, 0)
    pass_on(results, last, other_end(from), caller, batch)
    if bound then call('HINCRBY', OBJECT, FILL .. other_end(from), size) end
    end_batch(caller, batch)
    batch = nil
  end
  local items = call('LRANGE', list, 0, -2)
  for _ = 1, #items - undelivered_of(caller, batch) do
    local _, _, size = string.match(table.remove(items), ITEM_HEAD)
    if size then take_from_fill(size) end
  end
  end_batch(caller, batch)
  for _, item in ipairs(items) do
    local kind, begun, size = string.match(item, ITEM_HEAD)
    local is_task = kind == TASK or kind == TASK_IN_BLOB
    begun = is_task and begun + (#items == 1 and 1 or 0)
    if is_task and #items > 1 then call('HINCRBY', OBJECT, SUSPECTS, 1) end
    if is_task and begun >= tonumber(ARGV[6]) then
      local back = OBJECT .. ITEMS .. (1 - from)
      call('RPUSH', back, DIED .. ARGV[5] .. ' ' .. item)
      renew_ttl(back)
      if counted then take_from_fill(size) end
    else
      if is_task then item = kind .. math.floor(begun) .. string.sub(item, 3) end
      call('LPUSH', OBJECT .. ITEMS .. from, item)
      if bound and is_task and not counted then call('HINCRBY', OBJECT, FILL .. from, size) end
      renew_ttl(OBJECT .. ITEMS .. from)
    end
  end
  call('DEL', list)
  call('HDEL', OBJECT, TAKES .. caller)
  call('HINCRBY', OBJECT, OPENED .. from, -1)
  if call('HGET', OBJECT, AHEAD .. from) == caller then end_reading_ahead(from, has_waited) end
end

for _, line in ipairs({WAITERS, TAKERS .. 0, TAKERS .. 1}) do
  local waiters = call('LRANGE', OBJECT .. line, 0, -1)
  if string.find(table.concat(waiters, ' '), ARGV[4] .. '.', 1, true) then
    for _, waiter in ipairs(waiters) do
      if is_mine(waiter) then call('LREM', OBJECT .. line, 0, waiter) end
    end
  end
end
for waiter in string.gmatch(call('HGET', OBJECT, IMPATIENT) or '', '%S+') do
  if is_mine(waiter) then forget_impatient(waiter) end
end
for _, waiter in ipairs(call('HKEYS', OBJECT .. GRANTED)) do
  if is_mine(waiter) then
    -- A waiter without a token has acknowledged it.
    local token = revoke(waiter)
    if token and token ~= NO and call('HEXISTS', OBJECT, VALUE) == 1 then release(2147483647) end
  end
end
-- Had anybody been able to know that it held the lock, it would have said so: the lock is free.
if after(ARGV[4] .. ':', call('HGET', OBJECT, LENT_TO) or '') then release(1) end
if call('HGET', OBJECT, TAKEN_BY) == ARGV[4] and call('HGET', OBJECT, VALUE) == '0' then release(1) end
for thread in string.gmatch(call('HGET', OBJECT, CALLERS .. ARGV[4]) or '', '%d+') do
  local caller = ARGV[4] .. '.' .. thread
  if call('HEXISTS', OBJECT, TAKES .. caller) == 1 then give_back(caller) end
  call('HDEL', OBJECT, ANSWER .. caller)
end
call('HDEL', OBJECT, CALLERS .. ARGV[4])
for from = 0, 1 do hand_out(from, bell_of(from)) end
release_refs(ARGV[4], {0, 1})
return OK
