-- Up to ARGV[4] items of one end (ARGV[3]), without waiting, for its only reader.
local _, answered = open()
if type(answered) == 'table' then return answered end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
local source = OBJECT .. ITEMS .. ARGV[3]
local out = call('LRANGE', in_flight, 0, -2)
while #out < tonumber(ARGV[4]) do
  local item = call('LINDEX', source, 0)
  if not item or item == 'E' then break end
  call('LMOVE', source, in_flight, 'LEFT', 'LEFT')
  out[#out + 1] = item
end
return out
