-- All that an ended process held of one object. ARGV[3] process, ARGV[4] its exit code, ARGV[5] how often a task may be begun.
-- What it had taken and not acknowledged goes back to the head; a task begun too often goes to the other
-- end, marked 'D' with the exit code. What was granted and not acknowledged is granted to the next.
if call('EXISTS', M) == 0 then return 'ok' end
TTL = call('HGET', M, 'ttl')
local mine = ARGV[3] .. '.'
local function is_mine(text) return string.sub(text, 1, #mine) == mine end

for _, waiter in ipairs(call('LRANGE', M .. ':w', 0, -1)) do
  if is_mine(waiter) then call('LREM', M .. ':w', 0, waiter) end
end
for _, f in ipairs(call('HKEYS', M)) do
  local c, rest = string.sub(f, 1, 2), string.sub(f, 3)
  if c == 'I:' and is_mine(rest) then
    local ending, bound = call('HGET', M, f), call('HGET', M, 'bound')
    -- A task that was counted as taken counts again; what was not is still counted.
    local counted = call('HDEL', M, 'T:' .. rest) == 0
    for _, item in ipairs(call('LRANGE', M .. ':' .. f, 0, -1)) do
      local kind, attempts, weight = string.match(item, '^([IBPQ])(%d)(%d+) ')
      local is_task = kind == 'P' or kind == 'Q'
      if is_task and attempts + 1 >= tonumber(ARGV[5]) then
        call('RPUSH', M .. ':q' .. (1 - ending), 'D' .. ARGV[4] .. ' ' .. item)
        keep(M .. ':q' .. (1 - ending))
        if counted then taken(ending, weight, bound) end
      elseif item ~= 'A' then
        if is_task then item = kind .. math.floor(attempts + 1) .. string.sub(item, 3) end
        call('LPUSH', M .. ':q' .. ending, item)
        if bound and is_task and not counted then call('HINCRBY', M, 'b' .. ending, weight) end
        keep(M .. ':q' .. ending)
      end
    end
    call('DEL', M .. ':' .. f)
    call('HDEL', M, f)
  elseif c == 'g:' and is_mine(rest) then
    call('DEL', M .. ':k:' .. rest)
    call('HDEL', M, f)
    if call('HEXISTS', M, 'v') == 1 then release(2147483647) end
  elseif string.sub(f, 1, 1) == 'c' and is_mine(string.sub(f, 2)) then
    call('HDEL', M, f)
  end
end
leave(ARGV[3], {0, 1})
return 'ok'
