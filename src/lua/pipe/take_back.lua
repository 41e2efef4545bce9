-- An item that was taken goes back. ARGV[3] end, ARGV[4] 'LEFT' to the head, 'RIGHT' to the tail.
local _, again = open('ttl')
if again then return again end
local flying = M .. ':I:' .. CALLER
if call('LLEN', flying) > 1 then
  call('LMOVE', flying, M .. ':q' .. ARGV[3], 'LEFT', ARGV[4])
  keep(M .. ':q' .. ARGV[3])
end
return answer('ok')
