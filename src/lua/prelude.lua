-- The common part of the scripts, at the beginning of the library that a store keeps. Every key of the object begins with
-- KEYS[1]: one hash tag, so one slot of a cluster.

-- The state of the current call: the object's hash; the caller (process.thread); the seq of its command, a text; and the seq of
-- the caller's command before it on this object.
local OBJECT, CALLER, SEQ, PREVIOUS
-- Whether the object's slot is migrating to another node of a cluster. Then a missing key may never have been there or may
-- have moved already; a write to it could fail between two others.
local is_moving
local call, ttl
-- The heads of items: the letter, how often a task was begun, the size in bytes.
local ITEM_HEAD = '^([' .. MESSAGE .. TASK .. MESSAGE_IN_BLOB .. TASK_IN_BLOB .. '])(%d)(%d+) '
local TASK_HEAD = '^[' .. TASK .. TASK_IN_BLOB .. ']%d(%d+) '

local function begin(keys, args)
  OBJECT, CALLER, SEQ, PREVIOUS = keys[1], args[1], args[2], tonumber(args[3])
  is_moving = IS_CLUSTER and type(redis.pcall('EXISTS', OBJECT .. PROBE)) == 'table'
  call, ttl = redis.call, '0'
end

-- The error of a command that cannot run until the migration has ended.
local function on_its_way()
  return redis.error_reply('TRYAGAIN the slot of ' .. OBJECT .. ' is on its way')
end

-- Whether a key can be used: always, unless the slot is migrating; then only a key that is still here.
local function is_here(suffix)
  return not is_moving or redis.pcall('EXISTS', OBJECT .. suffix) == 1
end

-- Reads fields of the object, which are at [2] and on. If the second value is set, it is the answer.
local function read(...)
  local fields = call('HMGET', OBJECT, TTL, ...)
  if not fields[1] then return fields, redis.error_reply(LOST .. ' ' .. OBJECT) end
  ttl = fields[1]
  return fields
end

-- The caller's process and its thread.
local function own_name()
  return string.match(CALLER, '^(.*)%.(%d+)$')
end

-- The caller to which a waiter belongs.
local function caller_of(waiter)
  return string.match(waiter, '^[^:]*')
end

-- Records the caller under its process' name: the process may end without clearing up what its callers have here.
local function note_caller()
  local process, thread = own_name()
  local threads = call('HGET', OBJECT, CALLERS .. process) or ' '
  if not string.find(threads, ' ' .. thread .. ' ', 1, true) then
    call('HSET', OBJECT, CALLERS .. process, threads .. thread .. ' ')
  end
end

-- The same for a numbered command; the fields are at [3] and on. The second value is also set if this command ran before,
-- since its reply was lost: it is then the answer of that time; and if a command of the caller before this one is missing.
local function open(...)
  local fields, refused = read(ANSWER .. CALLER, ...)
  if refused then return fields, refused end
  local last, text = 0, nil
  if fields[2] then
    last, text = string.match(fields[2], '^(%d+) (.*)$')
    last = tonumber(last)
  end
  if last >= tonumber(SEQ) then return fields, text end
  if last < PREVIOUS then return fields, redis.error_reply(GAP .. ' ' .. OBJECT) end
  if not fields[2] then note_caller() end
  return fields
end

-- Whether a refusal says that the object does not exist.
local function is_absent(refusal)
  return string.find(refusal.err, LOST, 1, true) ~= nil
end

-- Stores the answer to this command, for a repetition of it, together with other fields and values of the object.
local function answer(text, ...)
  call('HSET', OBJECT, ANSWER .. CALLER, SEQ .. ' ' .. text, ...)
  return text
end

-- In a store that the session does not own, every key has a time to live, which the session's owner renews.
local function renew_ttl(key)
  if ttl ~= '0' then call('PEXPIRE', key, ttl) end
end

-- The text behind a prefix; nil if the text does not begin with it.
local function after(prefix, text)
  if string.sub(text, 1, #prefix) == prefix then return string.sub(text, #prefix + 1) end
end

-- Leaves versions of regions, 'region:version region:version ...', with an object; the greater version of each region stays.
-- Returns how often the object's versions have changed, if this has changed them.
local function leave_versions(versions, at)
  if versions == '' then return end
  local key, has_changed, has_new = (at or OBJECT) .. VERSIONS, false, false
  for region, version in string.gmatch(versions, '(%S+):(%d+)') do
    local old = call('HGET', key, region)
    if not old or tonumber(old) < tonumber(version) then
      call('HSET', key, region, version)
      has_changed, has_new = true, has_new or not old
    end
  end
  if has_new then renew_ttl(key) end
  if has_changed then return call('HINCRBY', at or OBJECT, CHANGES, 1) end
end

-- The versions that were left with an object, and how often they have changed; '' if that is the `known` count. `changes`: that
-- count, if the caller has it.
local function versions(at, known, changes)
  changes = changes or call('HGET', at or OBJECT, CHANGES)
  if not changes or changes == known then return '' end
  local pairs, out = call('HGETALL', (at or OBJECT) .. VERSIONS), {CHANGED .. ':' .. changes}
  for i = 1, #pairs, 2 do out[#out + 1] = pairs[i] .. ':' .. pairs[i + 1] end
  return table.concat(out, ' ')
end

-- The same for a caller that is granted a lock, followed by the content of the lock's regions, as far as it is small: for each
-- region a line of its key, its version and its size in bytes, then the bytes. `here`: what the caller has of the lock: how often
-- its versions have changed, the list of its regions, and the versions of some of them.
local function grant(at, known, word, here)
  here = here or {}
  local text = versions(at, known, here.changes)
  local guarded = text ~= '' and not is_moving and (here.guarded or call('HGET', at or OBJECT, GUARDED))
  text = (word or OK) .. ' ' .. text
  if not guarded then return text end
  local parts, size = {text .. '\n'}, 0
  for region in string.gmatch(guarded, '%S+') do
    local version = here[region] or call('HGET', region, VERSION)
    local content = version and call('GET', region .. GRANULE .. 0)
    if content and size + #content <= 16384 then
      size = size + #content
      parts[#parts + 1] = region .. ' ' .. version .. ' ' .. #content .. '\n' .. content
    end
  end
  return table.concat(parts)
end

-- Wakes one waiter. The token stays until the waiter has acknowledged it.
local function wake(waiter, token, at)
  local key = (at or OBJECT) .. TOKEN .. waiter
  call('RPUSH', key, token)
  call('HSET', (at or OBJECT) .. GRANTED, waiter, 1)
  renew_ttl(key)
  renew_ttl((at or OBJECT) .. GRANTED)
end

-- Wakes all waiters of a list.
local function wake_all(list, token)
  for _, waiter in ipairs(call('LRANGE', OBJECT .. list, 0, -1)) do wake(waiter, token) end
  call('DEL', OBJECT .. list)
end

-- The caller's name as a waiter for the answer to this command.
local function own_waiter()
  return CALLER .. ':' .. SEQ
end

-- Appends to a list, which has a time to live from its beginning.
local function push(key, ...)
  if call('RPUSH', key, ...) == select('#', ...) then renew_ttl(key) end
end

-- Appends the caller to a list of waiters, with an answer that says so and sets other fields. `HAS_WAITED` is never cleared: a
-- command need not look for waiters if there were never any.
local function wait(line, ...)
  local waiter = own_waiter()
  push(OBJECT .. (line or WAITERS), waiter)
  return answer(WAIT .. ' ' .. waiter, HAS_WAITED, 1, ...)
end

-- Removes and returns the token of a waiter; nil if none has come.
local function revoke(waiter)
  local key = OBJECT .. TOKEN .. waiter
  local token = call('LINDEX', key, 0)
  call('DEL', key)
  call('HDEL', OBJECT .. GRANTED, waiter)
  return token
end

-- Items for an end that arrive during a migration without its list are in the object's hash. They are moved to the list
-- before anything else is done with it.
local function unspill(to, spilled)
  for i = 1, tonumber(spilled or '0') do
    call('RPUSH', OBJECT .. ITEMS .. to, call('HGET', OBJECT, SPILL .. to .. ':' .. i))
    call('HDEL', OBJECT, SPILL .. to .. ':' .. i)
  end
  if spilled then
    call('HDEL', OBJECT, SPILLED .. to)
    renew_ttl(OBJECT .. ITEMS .. to)
  end
end

-- What the bell of one end is to say now that items may have come; nil if there are none, or if nobody waits to hear it.
local function bell_of(to)
  return call('EXISTS', OBJECT .. ITEMS .. to) == 1 and call('HGET', OBJECT, WATCHED .. to)
end

-- Rings the bell: there is something to take. A user whose access list forbids it was refused when the session began.
local function ring(to, bell)
  if not bell then return end
  call('HDEL', OBJECT, WATCHED .. to)
  redis.pcall('PUBLISH', OBJECT .. BELL .. to, bell)
end

-- Hands items to the takers that are queued: each item goes into the taker's in-flight list, and is its token. Nothing is
-- handed out during a migration: a blocked client gets an error when the slot has moved, and looks again. Rings the end's bell.
local function hand_out(to, bell)
  ring(to, bell)
  while not is_moving do
    local waiter = call('LINDEX', OBJECT .. TAKERS .. to, 0)
    local item = waiter and call('LINDEX', OBJECT .. ITEMS .. to, 0)
    if not item then return end
    call('LPOP', OBJECT .. TAKERS .. to)
    call('LMOVE', OBJECT .. ITEMS .. to, OBJECT .. IN_FLIGHT .. caller_of(waiter), 'LEFT', 'LEFT')
    wake(waiter, item)
  end
end

-- An empty pipe is never full: nobody would wake a sender that waits for it.
local function is_full(to, fill, bound)
  return bound and tonumber(fill or '0') >= tonumber(bound) and (is_moving or call('EXISTS', OBJECT .. ITEMS .. to) == 1)
end

-- The next item of one end for the caller. An item that was taken before and whose reply was lost is returned again.
local function next_item(from)
  local list = OBJECT .. IN_FLIGHT .. CALLER
  return call('LINDEX', list, -2) or call('LMOVE', OBJECT .. ITEMS .. from, list, 'LEFT', 'LEFT')
end

-- Appends arguments from this one to that one to a list: so many at once that Lua's stack holds them.
local function append(list, args, first, last)
  for at = first, last, 1000 do push(list, unpack(args, at, math.min(at + 999, last))) end
end

-- The other end of a pipe, as text.
local function other_end(of)
  return of == '0' and '1' or '0'
end

-- Moves items from the head of a list into the caller's in-flight list: `most` in all with those that are in `out`, to which it
-- adds them; until they have this many bytes, or up to the first of which `size_of` returns no size. Returns their size.
local function take_some(source, most, most_bytes, size_of, out)
  local size, chunk = 0, 8
  repeat
    local wanted = math.min(chunk, most - #out)
    local items, count = call('LRANGE', source, 0, wanted - 1), 0
    for i, item in ipairs(items) do
      local one = size < most_bytes and size_of(item)
      if not one then break end
      size, count, out[#out + 1] = size + one, i, item
    end
    if count > 0 then
      call('LTRIM', source, count, -1)
      call('LPUSH', OBJECT .. IN_FLIGHT .. CALLER, unpack(items, 1, count))
    end
    chunk = chunk * 4
  until count < wanted or #out >= most
  return size
end

-- The items that the caller has in flight, the oldest first.
local function in_flight_items()
  local items, out = call('LRANGE', OBJECT .. IN_FLIGHT .. CALLER, 0, -2), {}
  for i = #items, 1, -1 do out[#out + 1] = items[i] end
  return out
end

-- Acknowledges this many of the oldest items of a caller. Returns whether it has no other, and whether it had any: it may have
-- acknowledged them before. It may have others: tasks that were taken together, or an item that came later, since a wait runs
-- even if the command before it was refused and is sent again.
local function acknowledge(count, caller)
  local list = OBJECT .. IN_FLIGHT .. caller
  local length = call('LLEN', list)
  if length <= count + 1 then
    call('LTRIM', list, -1, -1)
    return true, length > 1
  end
  call('LTRIM', list, 0, -count - 2)
  call('RPUSH', list, ANCHOR)
  return false, true
end

-- A batch is items that a thread took in one step, to deliver them one by one. Those that it has not delivered are numbers in a
-- set, from which the thread removes each by a plain command: it may be repeated, does nothing once the batch has ended, and no
-- store refuses it for want of memory.
local function progress_key(caller, batch)
  return OBJECT .. PROGRESS .. caller .. ':' .. batch
end

local function end_batch(caller, batch)
  if not batch then return end
  call('DEL', progress_key(caller, batch))
  call('HDEL', OBJECT, BATCH .. caller)
end

local function begin_batch(batch, count)
  end_batch(CALLER, call('HGET', OBJECT, BATCH .. CALLER))
  local numbers = {}
  for i = 1, count do numbers[i] = i end
  call('SADD', progress_key(CALLER, batch), unpack(numbers))
  renew_ttl(progress_key(CALLER, batch))
  call('HSET', OBJECT, BATCH .. CALLER, batch)
end

-- How many items a thread has in flight that it has not delivered.
local function undelivered_of(caller, batch)
  if batch then return call('SCARD', progress_key(caller, batch)) end
  return math.max(0, call('LLEN', OBJECT .. IN_FLIGHT .. caller) - 1)
end

-- Tasks that a thread took together are a batch, too. The thread appends the result of each but the last to a list, with its number
-- in the batch and a space before it, by a plain command that does nothing once the batch has ended. The head of the list is the
-- number of the last result that was passed on; a result that comes again has a number that is not the next one.
local function begin_results(batch)
  push(progress_key(CALLER, batch), 0)
end

-- The results of a batch to be passed on, their size in bytes, and the number of the last one. Of the batch's results `sent` must
-- be here, unless the store has refused one and will get it again.
local function results_of(caller, batch, sent)
  local list = batch and call('LRANGE', progress_key(caller, batch), 0, -1) or {}
  local last, results, size = tonumber(list[1] or '0'), {}, 0
  for i = 2, #list do
    local number, at = string.match(list[i], '^(%d+) ()')
    if tonumber(number) == last + 1 then
      local result = string.sub(list[i], at)
      local _, _, bytes = string.match(result, ITEM_HEAD)
      last, size, results[#results + 1] = last + 1, size + (bytes or 0), result
    end
  end
  if last < tonumber(sent) then return redis.error_reply(GAP .. ' ' .. OBJECT) end
  return results, size, last
end

-- Passes results on to one end, and acknowledges their tasks.
local function pass_on(results, last, to, caller, batch)
  if #results == 0 then return end
  local key = progress_key(caller, batch)
  call('LTRIM', key, 0, 0)
  call('LSET', key, 0, last)
  push(OBJECT .. ITEMS .. to, unpack(results))
  acknowledge(#results, caller)
end

-- The caller has no more items that it has read ahead from an end: threads that wait to take from that end look again.
local function end_reading_ahead(from, has_waited)
  call('HDEL', OBJECT, AHEAD .. from)
  if has_waited then wake_all(WAITERS, LOOK) end
end

-- This many bytes were taken from one end of a pipe, which held `fill`, and were acknowledged. Returns the field and the value
-- to be set, the bytes that are left; a pipe without a bound counts nothing. Senders that wait for capacity look again.
local function taken(from, size, bound, has_waited, fill)
  if not bound then return end
  local left = math.max(0, tonumber(fill or '0') - tonumber(size))
  if has_waited and call('EXISTS', OBJECT .. WAITERS) == 1
    and (left < tonumber(bound) / 2 or call('EXISTS', OBJECT .. ITEMS .. from) == 0)
  then
    wake_all(WAITERS, LOOK)
  end
  return FILL .. from, left
end

-- The field and the value to be set after this many bytes were added to one end of a pipe.
local function added(to, size, bound, fill)
  if bound then return FILL .. to, tonumber(fill or '0') + tonumber(size) end
end

-- Gives the unit of a lock to a waiter; `taken_by`: whether the lock notes its holder.
local function grant_to(waiter, at, taken_by, here)
  wake(waiter, grant(at, nil, nil, here), at)
  if taken_by then call('HSET', at, TAKEN_BY, string.match(waiter, '^(.*)%.%d+:')) end
end

-- Asks the process to which the lock is lent to give it back.
local function recall()
  redis.pcall('PUBLISH', OBJECT .. BELL .. 0, '')
end

local release

-- The lock is lent no more. What others have given back meanwhile is there now. Callers that would not wait, and have not got it,
-- are told.
local function end_loan(at)
  local fields = call('HMGET', at, IMPATIENT, OWED)
  call('HDEL', at, LENT_TO, IMPATIENT, OWED)
  for _ = 1, tonumber(fields[2] or '0') do release(1, at) end
  for waiter in string.gmatch(fields[1] or '', '%S+') do
    -- One that has got it has its token.
    if call('LREM', at .. WAITERS, 0, waiter) > 0 or call('HEXISTS', at .. GRANTED, waiter) == 0 then wake(waiter, NO, at) end
  end
end

-- Gives one unit back to a semaphore: to the longest waiter, else to the value. Returns false if it was full.
function release(maximum, at)
  at = at or OBJECT
  local value = tonumber(call('HGET', at, VALUE))
  if value >= tonumber(maximum) then return false end
  local waiter = call('LPOP', at .. WAITERS)
  if waiter then grant_to(waiter, at, call('HGET', at, TAKEN_BY)) else call('HSET', at, VALUE, value + 1) end
  end_loan(at)
  return true
end

-- A waiter no longer wants to know whether the lock is held.
local function forget_impatient(waiter)
  local impatient, left = call('HGET', OBJECT, IMPATIENT), ''
  if not impatient then return end
  for other in string.gmatch(impatient, '%S+') do
    if other ~= waiter then left = left .. other .. ' ' end
  end
  call('HSET', OBJECT, IMPATIENT, left)
end

-- Removes a waiter from its list. Returns the token that has come before; nil if none has.
local function cancel_wait(waiter, late)
  local caller = caller_of(waiter)
  local from = late == LATE_ITEM and call('HGET', OBJECT, TAKES .. caller)
  if late == LATE_UNIT then forget_impatient(waiter) end
  if call('LREM', OBJECT .. (from and TAKERS .. from or WAITERS), 0, waiter) > 0 then return end
  local token = revoke(waiter)
  if token and from then
    -- The item may have been found in flight, and acknowledged.
    if call('LREM', OBJECT .. IN_FLIGHT .. caller, 1, token) > 0 then
      call('LPUSH', OBJECT .. ITEMS .. from, token)
      renew_ttl(OBJECT .. ITEMS .. from)
      hand_out(from, bell_of(from))
    end
    return
  end
  if token and token ~= NO and late == LATE_UNIT then
    release(2147483647)
  elseif token and late == LATE_NOTIFICATION then
    local next = call('LPOP', OBJECT .. WAITERS)
    if next then wake(next, token) end
  end
  return token
end

-- Calls `visit` with each key of the object except its hash.
local function each_key(visit)
  for _, field in ipairs(call('HKEYS', OBJECT)) do
    local caller, granule, blob = after(TAKES, field), after(GRANULE_VERSION, field), after(BLOB, field)
    local reader = after(BATCH, field)
    if caller then visit(OBJECT .. IN_FLIGHT .. caller)
    elseif reader then visit(progress_key(reader, call('HGET', OBJECT, field)))
    elseif granule then visit(OBJECT .. GRANULE .. granule)
    elseif field == PIECES or blob then
      for piece = 0, call('HGET', OBJECT, field) - 1 do visit((blob or OBJECT) .. GRANULE .. piece) end
      if blob then visit(blob) end
    end
  end
  for _, waiter in ipairs(call('HKEYS', OBJECT .. GRANTED)) do visit(OBJECT .. TOKEN .. waiter) end
  for _, suffix in ipairs({ITEMS .. 0, ITEMS .. 1, TAKERS .. 0, TAKERS .. 1, WAITERS, ACTING, GRANTED, VERSIONS, HELD}) do visit(OBJECT .. suffix) end
end

-- How many items one end has to take, without the end of file, and 1 if the end of file follows them.
local function count_items(from)
  local fields, refused = read(SPILLED .. from, AHEAD .. from)
  if refused then return refused end
  local key, spilled = OBJECT .. ITEMS .. from, tonumber(fields[2] or '0')
  -- Items that were read ahead are still to be taken.
  local ahead = 0
  if fields[3] then
    if not is_here(IN_FLIGHT .. fields[3]) then return on_its_way() end
    local batch = call('HGET', OBJECT, BATCH .. fields[3])
    if batch and not is_here(PROGRESS .. fields[3] .. ':' .. batch) then return on_its_way() end
    ahead = undelivered_of(fields[3], batch)
  end
  if not is_here(ITEMS .. from) then
    -- The list is not here: the reply is the least that there is.
    if spilled + ahead == 0 then return on_its_way() end
    return {spilled + ahead, 0}
  end
  local length = call('LLEN', key)
  if spilled == 0 and length > 0 and call('LINDEX', key, -1) == END_OF_FILE then return {length - 1 + ahead, 1} end
  return {length + spilled + ahead, 0}
end

-- Writes spans to a region that is no greater than a granule: from ARGV[at] their number, and for each its offset and its bytes.
-- Returns the region's new version, or nil if it is gone, and where the arguments go on.
local function write_region(region, args, at)
  local versions, last = call('HMGET', region, VERSION, GRANULE_VERSION .. 0), at + 2 * args[at]
  local version = versions[1]
  if version then
    version = math.floor(version + 1)
    for span = at + 1, last, 2 do call('SETRANGE', region .. GRANULE .. 0, args[span], args[span + 1]) end
    call('HSET', region, VERSION, version, GRANULE_VERSION .. 0, version)
    if not versions[2] then renew_ttl(region .. GRANULE .. 0) end
  end
  return version or nil, last + 1
end

-- How many pieces a blob has; nil if a piece of it is not here.
local function pieces_of(blob)
  local pieces = redis.pcall('HGET', blob, PIECES)
  if type(pieces) ~= 'string' then return end
  for piece = 0, pieces - 1 do
    if redis.pcall('EXISTS', blob .. GRANULE .. piece) ~= 1 then return end
  end
  return pieces
end

-- Deletes all keys of the object.
local function drop()
  each_key(function(key) call('UNLINK', key) end)
  call('UNLINK', OBJECT)
end

-- Removes a holder from some ends, in one step. When an end of a pipe loses its last holder, its peer gets the end of file;
-- when the object loses its last holder, it is deleted.
local function release_refs(holder, ends)
  local left = {}
  for _, e in ipairs(ends) do
    if call('HDEL', OBJECT, HOLDER .. e .. ':' .. holder) == 1 and call('HINCRBY', OBJECT, HOLDERS .. e, -1) <= 0 then
      left[#left + 1] = 1 - tonumber(e)
    end
  end
  local holders = call('HMGET', OBJECT, HOLDERS .. 0, HOLDERS .. 1)
  if #left > 0 and tonumber(holders[1] or '0') <= 0 and tonumber(holders[2] or '0') <= 0 then return drop() end
  for _, other in ipairs(left) do
    if tonumber(holders[other + 1] or '0') > 0 then
      unspill(other, call('HGET', OBJECT, SPILLED .. other))
      call('RPUSH', OBJECT .. ITEMS .. other, END_OF_FILE)
      renew_ttl(OBJECT .. ITEMS .. other)
      hand_out(other, bell_of(other))
      if call('HEXISTS', OBJECT, BOUND) == 1 then wake_all(WAITERS, LOOK) end
    end
  end
end
