-- Fetches the granules of a region that are newer than a version. ARGV[4] that version, ARGV[5] the number of granules,
-- ARGV[6] the granule to begin with, ARGV[7] how many to send at most.
-- Replies {version, next granule or -1, granule, bytes, granule, bytes, ...}.
local fields, refused = read(VERSION)
if refused then return refused end
local out, sent = {tonumber(fields[2]), -1}, 0
local first = tonumber(ARGV[6])
while first < tonumber(ARGV[5]) do
  local names = {}
  for granule = first, math.min(first + 999, ARGV[5] - 1) do names[#names + 1] = GRANULE_VERSION .. granule end
  for i, version in ipairs(call('HMGET', OBJECT, unpack(names))) do
    if version and tonumber(version) > tonumber(ARGV[4]) then
      local granule = first + i - 1
      if sent == tonumber(ARGV[7]) then
        out[2] = granule
        return out
      end
      if not is_here(GRANULE .. granule) then return on_its_way() end
      out[#out + 1] = granule
      out[#out + 1] = call('GET', OBJECT .. GRANULE .. granule)
      sent = sent + 1
    end
  end
  first = first + #names
end
return out
