-- A new lease for all keys of the object. ARGV[3] ms. Replies 'ok', or 'gone'.
if call('PEXPIRE', OBJECT, ARGV[3]) == 0 then return 'gone' end
each_key(function(key) call('PEXPIRE', key, ARGV[3]) end)
return 'ok'
