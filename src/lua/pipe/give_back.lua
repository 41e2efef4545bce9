-- Puts back items or tasks that a thread has taken before they were asked for. ARGV[4] the end, ARGV[5] the thread, ARGV[6] at
-- most how many: the last ones that it took; ARGV[7] how many items of its batch were delivered, which this acknowledges, ARGV[8]
-- their size in bytes. Of tasks the others were acknowledged, or are in work; ARGV[9] how many results of their batch were sent, at
-- least, which are passed on.
local from, to, thread, delivered = ARGV[4], other_end(ARGV[4]), ARGV[5], tonumber(ARGV[7])
local fields, answered = open(HAS_WAITED, AHEAD .. from, WORKS .. thread, BOUND, FILL .. from, BATCH .. thread, FILL .. to)
if answered then return answered end
local has_waited, is_ahead, works, bound, fill = fields[3], fields[4] == thread, fields[5], fields[6], fields[7]
local written = {}
if works and fields[8] then
  local results, size, last = results_of(thread, fields[8], ARGV[9])
  if results.err then return results end
  pass_on(results, last, to, thread, fields[8])
  hand_out(to, bell_of(to))
  written = {added(to, size, bound, fields[9])}
end
if is_ahead or works then
  local list, items = OBJECT .. IN_FLIGHT .. thread, OBJECT .. ITEMS .. from
  for _ = 1, math.min(tonumber(ARGV[6]), call('LLEN', list) - 1 - delivered) do
    local item = call('LMOVE', list, items, 'LEFT', 'LEFT')
    -- A task was counted as taken.
    if works then fill = (fill or 0) + string.match(item, TASK_HEAD) end
  end
  renew_ttl(items)
  if delivered > 0 then
    acknowledge(delivered, thread)
    written = {taken(from, ARGV[8], bound, has_waited, fill)}
  end
  -- The result of the task in work may have come before this.
  if works and call('LLEN', list) == 1 then
    call('HDEL', OBJECT, WORKS .. thread)
    end_batch(thread, fields[8])
  end
  if works and bound then written[#written + 1], written[#written + 2] = FILL .. from, fill or 0 end
  if is_ahead then
    end_batch(thread, fields[8])
    end_reading_ahead(from, has_waited)
  end
  hand_out(from, bell_of(from))
end
return answer(OK, unpack(written))
