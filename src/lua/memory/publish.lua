-- Written spans of a region. ARGV[3] granule size, then pairs of offset and bytes, none across granules.
-- Replies the region's new version.
local fields, answered = open(VERSION)
if answered then return answered end
local version = tonumber(fields[3]) + 1
for i = 4, #ARGV, 2 do
  local offset = tonumber(ARGV[i])
  local granule = math.floor(offset / ARGV[3])
  local key = OBJECT .. GRANULE .. granule
  call('SETRANGE', key, offset - granule * ARGV[3], ARGV[i + 1])
  call('HSET', OBJECT, GRANULE_VERSION .. granule, version)
  renew_ttl(key)
end
call('HSET', OBJECT, VERSION, version)
return answer(tostring(version))
