-- The next item of one end, without waiting. ARGV[3] end. An item taken before whose reply was lost comes again.
local _, answered = open()
if type(answered) == 'table' then return answered end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
local item = call('LINDEX', in_flight, 0)
if item and item ~= 'A' then return item end
return call('LMOVE', OBJECT .. ITEMS .. ARGV[3], in_flight, 'LEFT', 'LEFT')
