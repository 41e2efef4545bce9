-- A task was taken from one end (ARGV[4]), of this size (ARGV[5]): it no longer stands in the way of others, though
-- its result acknowledges it.
local fields, answered = open(BOUND)
if answered then return answered end
call('HSET', OBJECT, WORKS .. CALLER, 1)
taken(ARGV[4], ARGV[5], fields[3])
return answer('ok')
