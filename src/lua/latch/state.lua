-- Replies 'ok VERSIONS' if the count is zero, else 'no'.
local fields, refused = read(COUNT, CHANGES)
if refused then return refused end
if fields[3] and not is_here(VERSIONS) then return on_its_way() end
if tonumber(fields[2]) == 0 then return OK .. ' ' .. versions() end
return NO
