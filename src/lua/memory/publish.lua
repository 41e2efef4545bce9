-- Publishes spans of a region. ARGV[4] the granule size, then pairs of place and bytes, none across granules. A place is an
-- offset; or an offset and a version, 'offset=version': the bytes must not overwrite a granule that is newer than that
-- version. Replies the region's new version; or 'newer' if a granule is newer, and then nothing is written.
local fields, answered = open(VERSION)
if answered then return answered end
local version = tonumber(fields[3]) + 1
for i = 5, #ARGV, 2 do
  local offset, newest = string.match(ARGV[i], '^(%d+)=?(%d*)$')
  local granule = math.floor(offset / ARGV[4])
  if not is_here(GRANULE .. granule) then return on_its_way() end
  if newest ~= '' and tonumber(call('HGET', OBJECT, GRANULE_VERSION .. granule) or '0') > tonumber(newest) then
    return answer(NEWER)
  end
end
local last
for i = 5, #ARGV, 2 do
  local offset = string.match(ARGV[i], '^%d+')
  local granule = math.floor(offset / ARGV[4])
  call('SETRANGE', OBJECT .. GRANULE .. granule, offset - granule * ARGV[4], ARGV[i + 1])
  if granule ~= last then
    call('HSET', OBJECT, GRANULE_VERSION .. granule, version)
    renew_ttl(OBJECT .. GRANULE .. granule)
    last = granule
  end
end
call('HSET', OBJECT, VERSION, version)
return answer(tostring(version))
