-- A name of shared memory, noted in the session's object. ARGV[3] the name, ARGV[4] what it is to stand for; '' takes it away.
-- A name that stands for something already keeps it. Replies what it stood for, or ''.
local f, again = open('N:' .. ARGV[3])
if again then return again end
if ARGV[4] == '' then call('HDEL', M, 'N:' .. ARGV[3])
elseif not f[3] then call('HSET', M, 'N:' .. ARGV[3], ARGV[4]) end
return answer(f[3] or '')
