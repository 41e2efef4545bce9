-- A lock that was lent to the caller's process is held there: it is like any other lock that is held. ARGV[4] the number of the
-- loan.
local fields, refused = read(LENT_TO)
if refused then return is_absent(refused) and OK or refused end
if fields[2] == own_name() .. ':' .. ARGV[4] then end_loan(OBJECT) end
return OK
