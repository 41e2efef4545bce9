-- Acknowledges the oldest items that a thread has taken. ARGV[4] their end, ARGV[5] the thread, ARGV[6] their size, ARGV[7] their
-- number; ARGV[8] '1' to be told how many more items there are, and how many processes hold the end ('0' if its pipe is small:
-- an item that is not acknowledged would leave too little capacity); ARGV[9] the waiter that one was handed to, or absent. The
-- script is numbered: a repetition after the next take must do nothing.
local from, thread = ARGV[4], ARGV[5]
local fields, answered = open(BOUND, HAS_WAITED, AHEAD .. from, FILL .. from, HOLDERS .. from, BATCH .. thread)
if answered then return answered end
if is_moving and (fields[4] or ARGV[9] or not is_here(IN_FLIGHT .. thread)
  or fields[8] and not is_here(PROGRESS .. thread .. ':' .. fields[8]))
then
  return on_its_way()
end
end_batch(thread, fields[8])
local is_last, had_any = acknowledge(tonumber(ARGV[7]), thread)
if is_last and fields[5] == thread then end_reading_ahead(from, fields[4]) end
if ARGV[9] then revoke(ARGV[9]) end
local reply = OK
if ARGV[8] == '1' and is_here(ITEMS .. from) then
  local is_small = fields[3] and tonumber(fields[3]) < 1048576
  reply = call('LLEN', OBJECT .. ITEMS .. from) .. ' ' .. (is_small and 0 or fields[7])
end
if not had_any then return answer(reply) end
return answer(reply, taken(from, ARGV[6], fields[3], fields[4], fields[6]))
