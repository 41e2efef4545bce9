-- A thread begins to take from one end, or goes over to it from the other one; makes its in-flight list. ARGV[4] the end, ARGV[5]
-- how many threads may wait at the list of items; the others queue as takers. The anchor keeps the list, and with it its time to
-- live, while the list holds no item. Replies 'list', 'line', or 'wait WAITER' while another thread has read ahead from that end.
local from, key = ARGV[4], OBJECT .. IN_FLIGHT .. CALLER
local fields, answered = open(AHEAD .. from, TAKES .. CALLER, OPENED .. from)
if answered then return answered end
local other, count = fields[4], tonumber(fields[5] or '0')
if other ~= from then
  if other then
    for _ = 2, call('LLEN', key) do call('LMOVE', key, OBJECT .. ITEMS .. other, 'LEFT', 'LEFT') end
    renew_ttl(OBJECT .. ITEMS .. other)
    hand_out(other, bell_of(other))
    call('HINCRBY', OBJECT, OPENED .. other, -1)
  end
  count = count + 1
  call('HSET', OBJECT, TAKES .. CALLER, from, OPENED .. from, count)
end
if call('EXISTS', key) == 0 then call('RPUSH', key, ANCHOR) end
renew_ttl(key)
if fields[3] and fields[3] ~= CALLER then return wait() end
return answer(count > tonumber(ARGV[5]) and LINE or LIST)
