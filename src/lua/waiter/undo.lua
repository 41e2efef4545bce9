-- Takes back what a command of the caller did, if it has run: its answer was given up. ARGV[4] its seq, ARGV[5] what becomes of a
-- token, as for cancel.
local fields, refused = look(ANSWER .. CALLER)
if refused then return is_absent(refused) and OK or refused end
local seq, text = string.match(fields[2] or '', '^(%d+) (.*)$')
if seq ~= ARGV[4] then return OK end
call('HSET', OBJECT, ANSWER .. CALLER, seq .. ' ' .. UNDONE)
local waiter = after(WAIT .. ' ', text)
if waiter then give_up(waiter, ARGV[5])
elseif text == OK and ARGV[5] == LATE_UNIT then release(2147483647) end
return OK
