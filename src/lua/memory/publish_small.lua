-- Publishes several regions in one step, none greater than a granule. KEYS: the regions; for each its name, the number of
-- spans, and for each span its offset and its bytes. Replies their new versions ('0' if a region is gone).
local _, answered = open()
if answered then return answered end
if is_moving then return on_its_way() end
local versions, at = {}, 4
for _, region in ipairs(KEYS) do
  local version, next = write_region(region, ARGV, at + 1)
  versions[#versions + 1] = version or 0
  at = next
end
return answer(table.concat(versions, ' '))
