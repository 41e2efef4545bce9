-- A waiter gives up. ARGV[4] the waiter, ARGV[5] what becomes of a token that came before: '' the waiter takes it, a 'unit' goes
-- back to its semaphore, a 'notification' to the next who waits for one, 'news' is of no use any more.
-- Replies 'gone', or the token.
local _, answered = open()
if answered then return answered end
return answer(give_up(ARGV[4], ARGV[5]) or GONE)
