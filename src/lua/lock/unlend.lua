-- A lock that was lent to the caller's process is held there, or about to be given back: it is like any other lock that is held.
-- ARGV[4] the number of the loan, ARGV[5] '1' if it is about to be given back: callers that would not wait then wait for that.
local fields, refused = read(LENT_TO)
if refused then return is_absent(refused) and OK or refused end
if fields[2] == own_name() .. ':' .. ARGV[4] then
  if ARGV[5] == '1' then call('HDEL', OBJECT, LENT_TO) else end_loan(OBJECT) end
end
return OK
