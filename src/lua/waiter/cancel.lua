-- A waiter gives up. ARGV[4] the waiter, ARGV[5] what happens to a token that came before: '' the waiter takes it, a 'unit'
-- goes back to its semaphore, a 'notification' goes to the next waiter, 'news' is discarded, an 'item' goes back to its pipe.
-- Replies 'gone', or the token.
local _, answered = open()
if answered then return answered end
return answer(cancel_wait(ARGV[4], ARGV[5]) or GONE)
