-- Removes a holder. ARGV[4] the holder, then the ends. An absent object counts as left.
local _, refused = read()
if refused then return is_absent(refused) and OK or refused end
release_refs(ARGV[4], {unpack(ARGV, 5)})
return OK
