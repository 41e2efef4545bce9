-- Puts back the items that a thread has read ahead. ARGV[4] the end, ARGV[5] the thread, ARGV[6] at most how many: the last
-- ones that it took. The others were acknowledged.
local fields, answered = open(HAS_WAITED, AHEAD .. ARGV[4])
if answered then return answered end
if fields[4] == ARGV[5] then
  local list, items = OBJECT .. IN_FLIGHT .. ARGV[5], OBJECT .. ITEMS .. ARGV[4]
  for _ = 1, math.min(tonumber(ARGV[6]), call('LLEN', list) - 1) do call('LMOVE', list, items, 'LEFT', 'LEFT') end
  renew_ttl(items)
  end_reading_ahead(ARGV[4], fields[3])
  hand_out(ARGV[4])
end
return answer(OK)
