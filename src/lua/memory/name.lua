-- Binds or unbinds a name of shared memory in the session's object. ARGV[4] the name, ARGV[5] what it stands for; '' unbinds
-- it. A name that is bound already keeps its meaning. Replies what the name stood for, or ''.
local field = NAME .. ARGV[4]
local fields, answered = open(field)
if answered then return answered end
if ARGV[5] == '' then call('HDEL', OBJECT, field)
elseif not fields[3] then call('HSET', OBJECT, field, ARGV[5]) end
return answer(fields[3] or '')
