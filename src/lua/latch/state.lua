-- Replies 'ok VERSIONS' where the count is zero, else 'no'.
local fields, refused = look(COUNT)
if refused then return refused end
if tonumber(fields[2]) == 0 then return 'ok ' .. versions() end
return 'no'
