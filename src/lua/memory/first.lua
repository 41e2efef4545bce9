-- The first version of a region, whose granules were set before. ARGV[4] and on: these granules. Replies the version.
local _, answered = open()
if answered then return answered end
local version = call('HINCRBY', OBJECT, VERSION, 1)
for i = 4, #ARGV do call('HSET', OBJECT, GRANULE_VERSION .. ARGV[i], version) end
return answer(tostring(version))
