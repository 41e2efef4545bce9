-- Stands before every script.
-- KEYS[1] the object's metadata hash; ARGV[1] the caller (process.thread); ARGV[2] the number of its command.
-- Every other key of the object is KEYS[1] plus a suffix: one hash tag, so one slot of a cluster.
local M, CALLER, NUMBER = KEYS[1], ARGV[1], ARGV[2]
local call = redis.call
local TTL = '0'

-- Reads fields of the object, which stand from [3] on. The second value is set when there is nothing left to do: the
-- object is gone, or this very command ran before (its reply was lost on the way) and is answered as it was then.
local function open(...)
  local f = call('HMGET', M, 'ttl', 'c' .. CALLER, ...)
  if not f[1] then return f, redis.error_reply('SMPLOST ' .. M) end
  TTL = f[1]
  if f[2] then
    local number, answer = string.match(f[2], '^(%d+) (.*)$')
    if tonumber(number) >= tonumber(NUMBER) then return f, answer end
  end
  return f
end

-- Remembers the answer to this command, for a repetition of it.
local function answer(text)
  call('HSET', M, 'c' .. CALLER, NUMBER .. ' ' .. text)
  return text
end

-- In a store of others every key has a time to live, which the session's owner renews.
local function keep(key)
  if TTL ~= '0' then call('PEXPIRE', key, TTL) end
end

-- Region versions left with an object: 'region:version region:version ...', merged by the greater version.
local function merge(map, at)
  if map == '' then return end
  local key = (at or M) .. ':m'
  for region, version in string.gmatch(map, '(%S+):(%d+)') do
    local old = call('HGET', key, region)
    if not old or tonumber(old) < tonumber(version) then call('HSET', key, region, version) end
  end
  call('HSET', at or M, 'f', 1)
  keep(key)
end

local function map(at)
  if not call('HGET', at or M, 'f') then return '' end
  local t, out = call('HGETALL', (at or M) .. ':m'), {}
  for i = 1, #t, 2 do out[#out + 1] = t[i] .. ':' .. t[i + 1] end
  return table.concat(out, ' ')
end

-- Wakes one waiter. The token stays until the waiter has acknowledged it.
local function wake(waiter, token, at)
  local key = (at or M) .. ':k:' .. waiter
  call('RPUSH', key, token)
  call('HSET', at or M, 'g:' .. waiter, 1)
  keep(key)
end

local function wait_in(list)
  call('RPUSH', M .. list, CALLER .. ':' .. NUMBER)
  keep(M .. list)
  return answer('wait ' .. CALLER .. ':' .. NUMBER)
end

-- Whoever waits for room in a pipe looks again.
local function wake_senders()
  for _, waiter in ipairs(call('LRANGE', M .. ':w', 0, -1)) do wake(waiter, 'look') end
  call('DEL', M .. ':w')
end

-- An empty pipe takes anything: nobody would wake who waits for it.
local function is_full(to, weight, bound)
  return bound and tonumber(weight or '0') >= tonumber(bound) and call('EXISTS', M .. ':q' .. to) == 1
end

-- So much was taken from one end of a pipe and has arrived. A pipe without a bound counts nothing.
local function taken(from, weight, bound)
  if not bound then return end
  local left = call('HINCRBY', M, 'b' .. from, 0 - tonumber(weight)) -- not '-0', which is no number to Redis
  if left < 0 then call('HSET', M, 'b' .. from, 0) end
  if call('EXISTS', M .. ':w') == 1 and (left < tonumber(bound) / 2 or call('EXISTS', M .. ':q' .. from) == 0) then
    wake_senders()
  end
end

-- One unit back to a semaphore: to the longest waiter, else to the count. False: it was full.
local function release(maximum, at)
  at = at or M
  local value = tonumber(call('HGET', at, 'v'))
  if value >= tonumber(maximum) then return false end
  local waiter = call('LPOP', at .. ':w')
  if waiter then wake(waiter, 'ok ' .. map(at), at) else call('HSET', at, 'v', value + 1) end
  return true
end

-- Everything of the object.
local function drop()
  for _, f in ipairs(call('HKEYS', M)) do
    local c = string.sub(f, 1, 2)
    if c == 'I:' or c == 'G:' then call('UNLINK', M .. ':' .. f)
    elseif c == 'g:' then call('UNLINK', M .. ':k:' .. string.sub(f, 3)) end
  end
  call('UNLINK', M .. ':q0', M .. ':q1', M .. ':w', M .. ':m', M .. ':held', M)
end

-- One holder less of some ends, all in one step. The last one of an end of a pipe gives its peer the end of file;
-- the last one of all deletes the object.
local function leave(holder, ends)
  local left = {}
  for _, e in ipairs(ends) do
    if call('HDEL', M, 'h' .. e .. ':' .. holder) == 1 and call('HINCRBY', M, 'n' .. e, -1) <= 0 then
      left[#left + 1] = 1 - tonumber(e)
    end
  end
  local n = call('HMGET', M, 'n0', 'n1')
  if #left > 0 and tonumber(n[1] or '0') <= 0 and tonumber(n[2] or '0') <= 0 then return drop() end
  for _, other in ipairs(left) do
    if tonumber(n[other + 1] or '0') > 0 then
      call('RPUSH', M .. ':q' .. other, 'E')
      keep(M .. ':q' .. other)
      if call('HEXISTS', M, 'bound') == 1 then wake_senders() end
    end
  end
end
