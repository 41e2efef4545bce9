-- Deletes the object, whoever holds it.
local refused = moving()
if refused then return refused end
drop()
return 'ok'
