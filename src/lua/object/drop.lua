-- Deletes the object, even if it is held. KEYS[2]: for a blob, the pipe or the job that names it.
if KEYS[2] then call('HDEL', KEYS[2], BLOB .. OBJECT) end
drop()
return OK
