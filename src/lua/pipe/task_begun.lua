-- A task was taken from one end (ARGV[3]), of this size (ARGV[4]): it no longer stands in the way of others, though
-- its result acknowledges it.
local fields, answered = open(BOUND)
if answered then return answered end
call('HSET', OBJECT, WORKS .. CALLER, 1)
taken(ARGV[3], ARGV[4], fields[3])
return answer('ok')
