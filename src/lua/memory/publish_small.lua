-- Publishes several regions in one step, none greater than a granule. KEYS: the regions; for each its name, the number of
-- spans, and for each span its offset and its bytes. Replies their new versions ('0' if a region is gone).
local _, answered = open()
if answered then return answered end
if is_moving then return on_its_way() end
local versions, at = {}, 4
for _, region in ipairs(KEYS) do
  local version, last = call('HGET', region, VERSION), at + 1 + 2 * ARGV[at + 1]
  if version then
    version = math.floor(version + 1)
    for span = at + 2, last, 2 do call('SETRANGE', region .. GRANULE .. 0, ARGV[span], ARGV[span + 1]) end
    call('HSET', region, VERSION, version, GRANULE_VERSION .. 0, version)
    renew_ttl(region .. GRANULE .. 0)
  end
  versions[#versions + 1] = version or 0
  at = last + 1
end
return answer(table.concat(versions, ' '))
