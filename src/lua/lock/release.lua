-- Gives one unit back. ARGV[4] the maximum, or '' if the unit stays with the caller's process and only its regions are written,
-- ARGV[5] the versions, ARGV[6] how often the lock's versions had changed when the caller last saw them, ARGV[7] '1' if the
-- caller does not wait for the answer: the unit of a lock that is lent is then given back when the loan ends. KEYS[2] and on: the
-- regions that were written, none greater than a granule; for each its name, the number of spans, and for each span its offset
-- and its bytes. Replies 'ok', 'over', or 'lent' if the lock is lent to another process, which is asked to give it back; and the
-- new versions of these regions ('0' if a region is gone).
local fields, answered = open(VALUE, HAS_WAITED, CHANGES, SEEN_BY, LENT_TO, TAKEN_BY, IMPATIENT, OWED, GUARDED)
if answered then return answered end
if is_moving and (fields[4] or #KEYS > 1 or ARGV[5] ~= '' and not is_here(VERSIONS)) then return on_its_way() end
local value = tonumber(fields[3])
local process, before, set = own_name(), fields[5] or '0', {}
local written, news, at = {OK}, {}, 8
local here = {guarded = fields[11] or ''}
for i = 2, #KEYS do
  local version, next = write_region(KEYS[i], ARGV, at + 1)
  if version then news[#news + 1], news[#news + 2] = ARGV[at], version end
  written[#written + 1], here[KEYS[i]] = version or 0, version
  at = next
  -- The lock's grants carry the content of these regions.
  if not string.find(here.guarded, KEYS[i] .. ' ', 1, true) then
    local kept = {}
    for region in string.gmatch(here.guarded, '%S+') do
      if call('EXISTS', region) == 1 then kept[#kept + 1] = region .. ' ' end
    end
    if #kept < 8 then
      here.guarded = table.concat(kept) .. KEYS[i] .. ' '
      call('HSET', OBJECT, GUARDED, here.guarded)
    end
  end
end
local changes = leave_versions(ARGV[5])
if #news > 0 then
  -- They are the newest.
  call('HSET', OBJECT .. VERSIONS, unpack(news))
  if before == '0' then renew_ttl(OBJECT .. VERSIONS) end
  if not changes then
    changes = math.floor(before + 1)
    set = {CHANGES, changes}
  end
end
here.changes = changes or fields[5]
if changes and (ARGV[6] == before or fields[6] == process .. ' ' .. before) then
  set[#set + 1], set[#set + 2] = SEEN_BY, process .. ' ' .. changes
end
if ARGV[4] ~= '' then
  -- If the unit is refused, the regions stay written.
  local lent_to = fields[7]
  if lent_to and not after(process .. ':', lent_to) then
    recall()
    if ARGV[7] == '1' then call('HINCRBY', OBJECT, OWED, 1) end
    written[1] = LENT
  elseif value >= tonumber(ARGV[4]) then
    written[1] = OVER
  else
    local ends_loan = lent_to or fields[9] or fields[10]
    local waiter = value == 0 and fields[4] and call('LPOP', OBJECT .. WAITERS)
    if waiter then grant_to(waiter, OBJECT, fields[8], here)
    elseif ends_loan then call('HSET', OBJECT, VALUE, value + 1)
    else set[#set + 1], set[#set + 2] = VALUE, value + 1 end
    if ends_loan then end_loan(OBJECT) end
  end
end
return answer(table.concat(written, ' '), unpack(set))
