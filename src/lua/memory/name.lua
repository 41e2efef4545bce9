-- A name of shared memory, noted in the session's object. ARGV[4] the name, ARGV[5] what it is to stand for; '' takes it away.
-- A name that stands for something already keeps it. Replies what it stood for, or ''.
local field = NAME .. ARGV[4]
local fields, answered = open(field)
if answered then return answered end
if ARGV[5] == '' then call('HDEL', OBJECT, field)
elseif not fields[3] then call('HSET', OBJECT, field, ARGV[5]) end
return answer(fields[3] or '')
