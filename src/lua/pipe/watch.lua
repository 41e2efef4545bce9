-- Replies like the script that counts the items of one end (ARGV[4]). If there is nothing, the end's bell rings when items come,
-- and says ARGV[5]. During a migration it is enough to know of items that are here: the caller looks again.
local found = count_items(ARGV[4])
if found.err then
  if not is_moving then return found end
  found = {0, 0}
end
if found[1] == 0 and found[2] == 0 and call('HGET', OBJECT, WATCHED .. ARGV[4]) ~= ARGV[5] then
  call('HSET', OBJECT, WATCHED .. ARGV[4], ARGV[5])
end
return found
