-- Takes back what a command of the caller did, if it has run: its answer was given up. ARGV[4] its seq, ARGV[5] what becomes of a
-- token, as for cancel.
local fields, refused = look(ANSWER .. CALLER)
if refused then return is_absent(refused) and 'ok' or refused end
local seq, text = string.match(fields[2] or '', '^(%d+) (.*)$')
if seq ~= ARGV[4] then return 'ok' end
call('HSET', OBJECT, ANSWER .. CALLER, seq .. ' undone')
local waiter = after('wait ', text)
if waiter then give_up(waiter, ARGV[5])
elseif text == 'ok' and ARGV[5] == 'unit' then release(2147483647) end
return 'ok'
