-- Takes up to ARGV[5] items of one end (ARGV[4]) for its only reader, without waiting. If ARGV[6] is set, the reader reads ahead,
-- and several items are the batch of this name; it gets one item if others have taken from that end, and no more than a quarter
-- of what the pipe may hold. Items that were taken before, and whose reply was lost, come first.
local fields, refused = read(SPILLED .. ARGV[4], OPENED .. ARGV[4], BOUND)
if refused then return refused end
if not (is_here(ITEMS .. ARGV[4]) and is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
if not is_moving then unspill(ARGV[4], fields[2]) end
local out, most, most_bytes = in_flight_items(), tonumber(ARGV[5]), 262144
local reads_ahead = ARGV[6] ~= ''
if reads_ahead and (fields[3] ~= '1' or is_moving) then most = 1 end
if reads_ahead and fields[4] then most_bytes = math.min(most_bytes, fields[4] / 4) end
if #out < most then
  local function size_of(item)
    local _, _, size = string.match(item, ITEM_HEAD)
    return size or item ~= END_OF_FILE and #item
  end
  take_some(OBJECT .. ITEMS .. ARGV[4], most, most_bytes, size_of, out)
end
if reads_ahead and #out > 1 then
  call('HSET', OBJECT, AHEAD .. ARGV[4], CALLER)
  -- The slot is migrating: the reply was lost of a time when it was not, and the batch was begun.
  if not is_moving then begin_batch(ARGV[6], #out) end
end
return out
