-- Renews the lease of all keys of the object. ARGV[4] ms. Replies 'ok', or 'gone'.
if call('PEXPIRE', OBJECT, ARGV[4]) == 0 then return GONE end
each_key(function(key) call('PEXPIRE', key, ARGV[4]) end)
return OK
