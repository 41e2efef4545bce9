-- An item that was taken goes back. ARGV[4] end, ARGV[5] 'LEFT' to the head, 'RIGHT' to the tail.
local _, answered = open()
if answered then return answered end
local in_flight = OBJECT .. IN_FLIGHT .. CALLER
if call('LLEN', in_flight) > 1 then
  call('LMOVE', in_flight, OBJECT .. ITEMS .. ARGV[4], 'LEFT', ARGV[5])
  renew_ttl(OBJECT .. ITEMS .. ARGV[4])
end
return answer('ok')
