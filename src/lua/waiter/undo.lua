-- Undoes a command of the caller, if it has run: the caller no longer waits for its answer. ARGV[4] the command's seq, ARGV[5]
-- what happens to a token, as in cancel.
local fields, refused = read(ANSWER .. CALLER)
if refused then return is_absent(refused) and OK or refused end
local seq, text = string.match(fields[2] or '', '^(%d+) (.*)$')
if seq ~= ARGV[4] then return OK end
call('HSET', OBJECT, ANSWER .. CALLER, seq .. ' ' .. UNDONE)
local waiter = after(WAIT .. ' ', text)
if waiter then cancel_wait(waiter, ARGV[5])
elseif (text == OK or text == LENT) and ARGV[5] == LATE_UNIT then release(2147483647) end
return OK
