-- Takes up to ARGV[5] items of one end (ARGV[4]) for its only reader, without waiting. A reader that reads ahead (ARGV[6] is
-- '1') gets one item if others have taken from that end. Items that were taken before, and whose reply was lost, come first.
local fields, refused = read(SPILLED .. ARGV[4], OPENED .. ARGV[4])
if refused then return refused end
if not (is_here(ITEMS .. ARGV[4]) and is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
if not is_moving then unspill(ARGV[4], fields[2]) end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
local source = OBJECT .. ITEMS .. ARGV[4]
local out = in_flight_items()
local left, most, size = call('LLEN', source), tonumber(ARGV[5]), 0
if ARGV[6] == '1' and fields[3] ~= '1' then most = 1 end
while #out < most and left > 0 and size < 262144 do
  left = left - 1
  local item = call('LINDEX', source, 0)
  if not item or item == END_OF_FILE then break end
  call('LMOVE', source, in_flight, 'LEFT', 'LEFT')
  out[#out + 1] = item
  size = size + #item
end
if ARGV[6] == '1' and #out > 1 then call('HSET', OBJECT, AHEAD .. ARGV[4], CALLER) end
return out
