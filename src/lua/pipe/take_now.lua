-- The next item of one end, without waiting. ARGV[4] end. An item taken before whose reply was lost comes again.
local _, refused = look()
if refused then return refused end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
local item = call('LINDEX', in_flight, -2)
if item then return item end
return call('LMOVE', OBJECT .. ITEMS .. ARGV[4], in_flight, 'LEFT', 'LEFT')
