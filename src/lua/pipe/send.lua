-- Sends items to one end of a pipe. ARGV[4] that end, ARGV[5] how many results of the sender's batch of tasks were sent, if
-- this is the result of its next task, which it acknowledges, or ''; ARGV[6] '1' if the sender waits for capacity, ARGV[7]
-- the size of the items in bytes, ARGV[8] the size of the item of its own end that this acknowledges, or '', ARGV[9] the
-- number of items, then the items. KEYS[2] and on: the blobs that the items name; they were sent before, and live as long
-- as the pipe. Or, if there are more arguments, regions that the sender has written, none greater than a granule; for each
-- its version, the number of spans, and for each span its offset and its bytes. They are written if the item is sent.
-- Replies 'ok', 'broken' if nobody holds that end, or 'wait WAITER' if the pipe is full; with regions, 'newer' in place of
-- 'wait', or if a region has another version: then nothing is done.
local to, from = ARGV[4], other_end(ARGV[4])
local fields, answered =
  open(HOLDERS .. to, FILL .. to, BOUND, SPILLED .. to, FILL .. from, HAS_WAITED, WATCHED .. to)
if answered then return answered end
local behind = 10 + ARGV[9]
local writes, pieces = behind <= #ARGV, {}
for i = 2, writes and 0 or #KEYS do
  pieces[i] = pieces_of(KEYS[i])
  -- The blob was refused before: the sender sends it again, then this command, and ignores this answer.
  if not pieces[i] then return is_moving and on_its_way() or redis.error_reply(LOST .. ' ' .. KEYS[i]) end
end
local is_broken = tonumber(fields[3]) <= 0
local must_wait = not is_broken and ARGV[6] == '1' and is_full(to, fields[4], fields[5])
local acknowledges, is_result = ARGV[8] ~= '', ARGV[5] ~= ''
local batch = is_result and call('HGET', OBJECT, BATCH .. CALLER)
if writes then
  local at, is_newer = behind, must_wait
  for i = 2, #KEYS do
    is_newer = is_newer or call('HGET', KEYS[i], VERSION) ~= ARGV[at]
    at = at + 2 + 2 * ARGV[at + 1]
  end
  if is_newer then return answer(NEWER) end
end
if is_moving and (must_wait or writes or acknowledges and fields[8]
  or batch or (acknowledges or is_result) and not is_here(IN_FLIGHT .. CALLER))
then
  return on_its_way()
end
local results, more, last_result = {}, 0, nil
if is_result then
  results, more, last_result = results_of(CALLER, batch, ARGV[5])
  if results.err then return results end
end
-- From now on the blobs live as long as the pipe, even while it is full.
for i, number in pairs(pieces) do call('HSET', OBJECT, BLOB .. KEYS[i], number) end
local written = {}
if acknowledges then
  local _, had_one = acknowledge(1, CALLER)
  if had_one then written = {taken(from, ARGV[8], fields[5], fields[8], fields[7])} end
end
if is_broken then return answer(IS_BROKEN, unpack(written)) end
if must_wait then return wait(nil, unpack(written)) end
for i = 2, writes and #KEYS or 0 do
  local _, next = write_region(KEYS[i], ARGV, behind + 1)
  behind = next
end
if is_moving and (fields[6] or not is_here(ITEMS .. to)) then
  local spilled = tonumber(fields[6] or '0')
  for i = 10, 9 + ARGV[9] do
    spilled = spilled + 1
    call('HSET', OBJECT, SPILL .. to .. ':' .. spilled, ARGV[i], SPILLED .. to, spilled)
  end
  ring(to, fields[9])
else
  local key = OBJECT .. ITEMS .. to
  unspill(to, fields[6])
  pass_on(results, last_result, to, CALLER, batch)
  append(key, ARGV, 10, 9 + ARGV[9])
  if fields[8] then hand_out(to, fields[9]) else ring(to, fields[9]) end
end
if is_result and acknowledge(1, CALLER) then
  call('HDEL', OBJECT, WORKS .. CALLER)
  end_batch(CALLER, batch)
end
local last = #written
written[last + 1], written[last + 2] = added(to, ARGV[7] + more, fields[5], fields[4])
return answer(OK, unpack(written))
