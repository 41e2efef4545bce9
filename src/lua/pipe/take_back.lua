-- Puts back an item that was taken. ARGV[4] the end, ARGV[5] 'LEFT' for the head, 'RIGHT' for the tail, ARGV[6] the waiter
-- that the item was handed to, or ''.
local _, answered = open()
if answered then return answered end
if ARGV[6] ~= '' then revoke(ARGV[6]) end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
if call('LLEN', in_flight) > 1 then
  call('LMOVE', in_flight, OBJECT .. ITEMS .. ARGV[4], 'LEFT', ARGV[5])
  renew_ttl(OBJECT .. ITEMS .. ARGV[4])
  hand_out(ARGV[4], bell_of(ARGV[4]))
end
return answer(OK)
