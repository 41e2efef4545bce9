-- Up to ARGV[5] items of one end (ARGV[4]), without waiting, for its only reader.
-- Those that were taken before, and whose reply was lost, come again first: the list has the last one at its head.
local _, refused = look()
if refused then return refused end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
local source = OBJECT .. ITEMS .. ARGV[4]
local before, out = call('LRANGE', in_flight, 0, -2), {}
for i = #before, 1, -1 do out[#out + 1] = before[i] end
while #out < tonumber(ARGV[5]) do
  local item = call('LINDEX', source, 0)
  if not item or item == 'E' then break end
  call('LMOVE', source, in_flight, 'LEFT', 'LEFT')
  out[#out + 1] = item
end
return out
