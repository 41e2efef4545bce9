-- One piece of a blob. ARGV[4] its index, ARGV[5] the bytes.
local _, refused = look()
if refused then return refused end
local key = OBJECT .. GRANULE .. ARGV[4]
call('SET', key, ARGV[5])
call('HSET', OBJECT, GRANULE_VERSION .. ARGV[4], 1)
renew_ttl(key)
return 'ok'
