-- Replies 'ok VERSIONS' if the count is zero, else 'wait WAITER'.
local fields, answered = open(COUNT)
if answered then return answered end
if tonumber(fields[3]) == 0 then return answer(OK .. ' ' .. versions()) end
return wait()
