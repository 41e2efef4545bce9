-- Puts back items or tasks that a thread has taken before they were asked for. ARGV[4] the end, ARGV[5] the thread, ARGV[6] at
-- most how many: the last ones that it took. The others were acknowledged, or are in work.
local from, thread = ARGV[4], ARGV[5]
local fields, answered = open(HAS_WAITED, AHEAD .. from, WORKS .. thread, BOUND, FILL .. from)
if answered then return answered end
local is_ahead, works = fields[4] == thread, fields[5]
if is_ahead or works then
  local list, items, fill = OBJECT .. IN_FLIGHT .. thread, OBJECT .. ITEMS .. from, tonumber(fields[7] or '0')
  for _ = 1, math.min(tonumber(ARGV[6]), call('LLEN', list) - 1) do
    local item = call('LMOVE', list, items, 'LEFT', 'LEFT')
    -- A task was counted as taken.
    if works then fill = fill + string.match(item, TASK_HEAD) end
  end
  renew_ttl(items)
  -- The result of the task in work may have come before this.
  if works and call('LLEN', list) == 1 then call('HDEL', OBJECT, WORKS .. thread) end
  if works and fields[6] then call('HSET', OBJECT, FILL .. from, fill) end
  if is_ahead then end_reading_ahead(from, fields[3]) end
  hand_out(from)
end
return answer(OK)
