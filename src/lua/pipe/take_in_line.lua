-- The next item of one end (ARGV[4]) for one who stands in the line where there is none: 'wait WAITER'. An item taken before whose
-- reply was lost comes again.
local fields, answered = open(SPILLED .. ARGV[4])
if answered then return answered == TOOK and call('LINDEX', OBJECT .. IN_FLIGHT .. CALLER, -2) or answered end
unspill(ARGV[4], fields[3])
local item = next_item(ARGV[4])
if item then
  answer(TOOK)
  return item
end
return wait(TAKERS .. ARGV[4])
