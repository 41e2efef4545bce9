-- Replies 'ok VERSIONS' if the count is zero, else 'no VERSIONS'. ARGV[4] how often the versions had changed when the caller last
-- saw them.
local fields, refused = read(COUNT, CHANGES)
if refused then return refused end
if fields[3] and not is_here(VERSIONS) then return on_its_way() end
return (tonumber(fields[2]) == 0 and OK or NO) .. ' ' .. versions(OBJECT, ARGV[4], fields[3])
