-- Replaces versions that the object keeps by an epoch. ARGV[4] the epoch, then pairs of a region and the version up to which
-- the epoch replaces it.
local _, refused = read()
if refused then return is_absent(refused) and OK or refused end
local key = OBJECT .. VERSIONS
leave_versions(EPOCH .. ':' .. ARGV[4])
for i = 5, #ARGV, 2 do
  local version = call('HGET', key, ARGV[i])
  if version and tonumber(version) <= tonumber(ARGV[i + 1]) then call('HDEL', key, ARGV[i]) end
end
return OK
