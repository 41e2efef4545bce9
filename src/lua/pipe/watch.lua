-- Replies like the script that counts the items of one end (ARGV[4]). If there is nothing, the end's bell rings when items come,
-- and says ARGV[5].
local found = count_items(ARGV[4])
if found[1] == 0 and found[2] == 0 then call('HSET', OBJECT, WATCHED .. ARGV[4], ARGV[5]) end
return found
