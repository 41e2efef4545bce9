-- A task was taken from one end (ARGV[3]), which weighs so much (ARGV[4]): it no longer stands in the way of others, though
-- its result acknowledges it.
local f, again = open('bound')
if again then return again end
call('HSET', M, 'T:' .. CALLER, 1)
taken(ARGV[3], ARGV[4], f[3])
return answer('ok')
