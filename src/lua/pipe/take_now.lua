-- The next item of one end, without waiting. ARGV[3] end. An item taken before whose reply was lost comes again.
local _, again = open('ttl')
if again and again.err then return again end
local flying = M .. ':I:' .. CALLER
local item = call('LINDEX', flying, 0)
if item and item ~= 'A' then return item end
return call('LMOVE', M .. ':q' .. ARGV[3], flying, 'LEFT', 'LEFT')
