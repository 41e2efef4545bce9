-- A waiter gives up. ARGV[3] the waiter. Replies 'gone', or the token that came before.
local _, again = open('ttl')
if again then return again end
if call('LREM', M .. ':w', 0, ARGV[3]) > 0 then return answer('gone') end
local key = M .. ':k:' .. ARGV[3]
local token = call('LINDEX', key, 0)
call('DEL', key)
call('HDEL', M, 'g:' .. ARGV[3])
return answer(token or 'gone')
