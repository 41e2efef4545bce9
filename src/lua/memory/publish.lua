-- Written spans of a region. ARGV[3] granule size, then pairs of offset and bytes, none across granules.
-- Replies the region's new version.
local f, again = open('version')
if again then return again end
local version = tonumber(f[3]) + 1
for i = 4, #ARGV, 2 do
  local offset = tonumber(ARGV[i])
  local granule = math.floor(offset / ARGV[3])
  local key = M .. ':G:' .. granule
  call('SETRANGE', key, offset - granule * ARGV[3], ARGV[i + 1])
  call('HSET', M, 'G:' .. granule, version)
  keep(key)
end
call('HSET', M, 'version', version)
return answer(tostring(version))
