-- Replies the granules of a region that are newer than a version. ARGV[4] that version, ARGV[5] the number of granules,
-- ARGV[6] the granule to begin with.
local _, refused = read()
if refused then return refused end
local out = {}
for first = ARGV[6], ARGV[5] - 1, 1000 do
  local names = {}
  for granule = first, math.min(first + 999, ARGV[5] - 1) do names[#names + 1] = GRANULE_VERSION .. granule end
  for i, version in ipairs(call('HMGET', OBJECT, unpack(names))) do
    if version and tonumber(version) > tonumber(ARGV[4]) then out[#out + 1] = first + i - 1 end
  end
end
return out
