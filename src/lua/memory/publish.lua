-- Written spans of a region. ARGV[4] granule size, then pairs of offset and bytes, none across granules.
-- Replies the region's new version.
local fields, answered = open(VERSION)
if answered then return answered end
local version = tonumber(fields[3]) + 1
for i = 5, is_moving and #ARGV or 0, 2 do
  if not is_here(GRANULE .. math.floor(ARGV[i] / ARGV[4])) then return on_its_way() end
end
for i = 5, #ARGV, 2 do
  local offset = tonumber(ARGV[i])
  local granule = math.floor(offset / ARGV[4])
  local key = OBJECT .. GRANULE .. granule
  call('SETRANGE', key, offset - granule * ARGV[4], ARGV[i + 1])
  call('HSET', OBJECT, GRANULE_VERSION .. granule, version)
  renew_ttl(key)
end
call('HSET', OBJECT, VERSION, version)
return answer(tostring(version))
