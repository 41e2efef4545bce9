-- One holder less. ARGV[4] holder, then the ends. An absent object has been left already.
local _, refused = look()
if refused then return is_absent(refused) and OK or refused end
leave(ARGV[4], {unpack(ARGV, 5)})
return OK
