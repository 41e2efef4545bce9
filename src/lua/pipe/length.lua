-- Replies how many items one end (ARGV[4]) has to take, without the end of file, and 1 if the end of file follows them.
local fields, refused = read(SPILLED .. ARGV[4], AHEAD .. ARGV[4])
if refused then return refused end
local key, spilled = OBJECT .. ITEMS .. ARGV[4], tonumber(fields[2] or '0')
-- Items that were read ahead are still to be taken.
local ahead = 0
if fields[3] then
  if not is_here(IN_FLIGHT .. fields[3]) then return on_its_way() end
  local batch = call('HGET', OBJECT, BATCH .. fields[3])
  if batch and not is_here(PROGRESS .. fields[3] .. ':' .. batch) then return on_its_way() end
  ahead = undelivered_of(fields[3], batch)
end
if not is_here(ITEMS .. ARGV[4]) then
  -- The list is not here: the reply is the least that there is.
  if spilled + ahead == 0 then return on_its_way() end
  return {spilled + ahead, 0}
end
local length = call('LLEN', key)
if spilled == 0 and length > 0 and call('LINDEX', key, -1) == END_OF_FILE then return {length - 1 + ahead, 1} end
return {length + spilled + ahead, 0}
