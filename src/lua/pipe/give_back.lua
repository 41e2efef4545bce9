-- What a thread has read ahead goes back. ARGV[4] the end, ARGV[5] the thread; ARGV[6] how many it has not delivered, those that it
-- took last; ARGV[7] the size of the others, if that was not counted.
local fields, answered = open(BOUND, HAS_WAITED, AHEAD .. ARGV[4])
if answered then return answered end
if fields[5] == ARGV[5] then
  local list, items = OBJECT .. IN_FLIGHT .. ARGV[5], OBJECT .. ITEMS .. ARGV[4]
  for _ = 1, tonumber(ARGV[6]) do
    if call('LLEN', list) > 1 then call('LMOVE', list, items, 'LEFT', 'LEFT') end
  end
  call('LTRIM', list, -1, -1)
  renew_ttl(items)
  end_reading_ahead(ARGV[4], fields[4])
  hand_out(ARGV[4])
  taken(ARGV[4], ARGV[7], fields[3], fields[4])
end
return answer('ok')
