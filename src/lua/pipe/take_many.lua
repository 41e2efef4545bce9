-- Up to ARGV[4] items of one end (ARGV[3]), without waiting, for its only reader.
local _, again = open('ttl')
if type(again) == 'table' then return again end
local flying = M .. ':I:' .. CALLER
local source = M .. ':q' .. ARGV[3]
local out = call('LRANGE', flying, 0, -2)
while #out < tonumber(ARGV[4]) do
  local item = call('LINDEX', source, 0)
  if not item or item == 'E' then break end
  call('LMOVE', source, flying, 'LEFT', 'LEFT')
  out[#out + 1] = item
end
return out
