-- Deletes the object, whoever holds it.
drop()
return 'ok'
