-- Takes the next item of one end (ARGV[4]), without waiting. An item that was taken before and whose reply was lost is
-- returned again.
local fields, refused = read(SPILLED .. ARGV[4])
if refused then return refused end
if not (is_here(ITEMS .. ARGV[4]) and is_here(IN_FLIGHT .. CALLER)) then return on_its_way() end
if not is_moving then unspill(ARGV[4], fields[2]) end
return next_item(ARGV[4])
