-- Takes the next item of one end (ARGV[4]); if there is none, queues the caller for it: 'wait WAITER'. An item that was taken
-- before and whose reply was lost is returned again.
local fields, answered = open(SPILLED .. ARGV[4])
if answered then return answered == TOOK and call('LINDEX', OBJECT .. IN_FLIGHT .. CALLER, -2) or answered end
unspill(ARGV[4], fields[3])
local item = next_item(ARGV[4])
if item then
  answer(TOOK)
  return item
end
return wait(TAKERS .. ARGV[4])
