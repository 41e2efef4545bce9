-- Granules of a region newer than a version. ARGV[3] that version, ARGV[4] number of granules,
-- ARGV[5] the granule to begin with, ARGV[6] how many to send at most.
-- Replies {version, next granule or -1, granule, bytes, granule, bytes, ...}.
local f = call('HMGET', M, 'ttl', 'version')
if not f[1] then return redis.error_reply('SMPLOST ' .. M) end
local out, n = {tonumber(f[2]), -1}, 0
local i = tonumber(ARGV[5])
while i < tonumber(ARGV[4]) do
  local fields = {}
  for j = i, math.min(i + 999, ARGV[4] - 1) do fields[#fields + 1] = 'G:' .. j end
  for j, v in ipairs(call('HMGET', M, unpack(fields))) do
    if v and tonumber(v) > tonumber(ARGV[3]) then
      if n == tonumber(ARGV[6]) then out[2] = i + j - 1 return out end
      out[#out + 1] = i + j - 1
      out[#out + 1] = call('GET', M .. ':' .. fields[j])
      n = n + 1
    end
  end
  i = i + #fields
end
return out
