-- Deletes the object, whoever holds it. KEYS[2]: for a blob, the pipe or the job one of whose items has named it.
if KEYS[2] then call('HDEL', KEYS[2], BLOB .. OBJECT) end
drop()
return OK
