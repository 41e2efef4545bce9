-- How many items one end (ARGV[4]) has to take, the end of file not counted, and whether that stands behind them.
local fields, refused = look(SPILLED .. ARGV[4])
if refused then return refused end
local key, spilled = OBJECT .. ITEMS .. ARGV[4], tonumber(fields[2] or '0')
if not is_here(ITEMS .. ARGV[4]) then
  -- At least those.
  if spilled == 0 then return on_its_way() end
  return {spilled, 0}
end
local length = call('LLEN', key)
if spilled == 0 and length > 0 and call('LINDEX', key, -1) == 'E' then return {length - 1, 1} end
return {length + spilled, 0}
