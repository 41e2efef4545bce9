-- Sends items to one end of a pipe. ARGV[4] that end, ARGV[5] '1' if this acknowledges the sender's task, ARGV[6] '1' if the
-- sender waits for capacity, ARGV[7] the size of the items in bytes, ARGV[8] the size of the item of its own end that this
-- acknowledges, or '', then the items. KEYS[2] and on: the blobs that the items name; they were sent before, and live as long as
-- the pipe. Replies 'ok', 'broken' if nobody holds that end, or 'wait WAITER' if the pipe is full.
local to, from = ARGV[4], 1 - ARGV[4]
local fields, answered =
  open(HOLDERS .. to, FILL .. to, BOUND, SPILLED .. to, FILL .. from, HAS_WAITED)
if answered then return answered end
local pieces = {}
for i = 2, #KEYS do
  pieces[i] = pieces_of(KEYS[i])
  -- The blob was refused before: the sender sends it again, then this command, and ignores this answer.
  if not pieces[i] then return is_moving and on_its_way() or redis.error_reply(LOST .. ' ' .. KEYS[i]) end
end
local is_broken = tonumber(fields[3]) <= 0
local must_wait = not is_broken and ARGV[6] == '1' and is_full(to, fields[4], fields[5])
local acknowledges = ARGV[8] ~= ''
if is_moving and (must_wait or acknowledges and fields[8]
  or (acknowledges or ARGV[5] == '1') and not is_here(IN_FLIGHT .. CALLER))
then
  return on_its_way()
end
-- From now on the blobs live as long as the pipe, even while it is full.
for i = 2, #KEYS do call('HSET', OBJECT, BLOB .. KEYS[i], pieces[i]) end
local written = {}
if acknowledges then
  acknowledge(1, CALLER)
  written = {taken(from, ARGV[8], fields[5], fields[8], fields[7])}
end
if is_broken then return answer(IS_BROKEN, unpack(written)) end
if must_wait then return wait(nil, unpack(written)) end
if is_moving and (fields[6] or not is_here(ITEMS .. to)) then
  local spilled = tonumber(fields[6] or '0')
  for i = 9, #ARGV do
    spilled = spilled + 1
    call('HSET', OBJECT, SPILL .. to .. ':' .. spilled, ARGV[i], SPILLED .. to, spilled)
  end
else
  local key = OBJECT .. ITEMS .. to
  unspill(to, fields[6])
  for i = 9, #ARGV do call('RPUSH', key, ARGV[i]) end
  renew_ttl(key)
  hand_out(to)
end
if ARGV[5] == '1' and acknowledge(1, CALLER) then call('HDEL', OBJECT, WORKS .. CALLER) end
local last = #written
written[last + 1], written[last + 2] = added(to, ARGV[7], fields[5], fields[4])
return answer(OK, unpack(written))
