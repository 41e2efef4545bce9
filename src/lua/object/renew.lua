-- A new lease for all keys of the object. ARGV[3] ms. Returns whether it still exists.
if call('PEXPIRE', M, ARGV[3]) == 0 then return 'gone' end
for _, suffix in ipairs({':q0', ':q1', ':w', ':m', ':held'}) do call('PEXPIRE', M .. suffix, ARGV[3]) end
for _, f in ipairs(call('HKEYS', M)) do
  local c = string.sub(f, 1, 2)
  if c == 'I:' or c == 'G:' then call('PEXPIRE', M .. ':' .. f, ARGV[3])
  elseif c == 'g:' then call('PEXPIRE', M .. ':k:' .. string.sub(f, 3), ARGV[3]) end
end
return 'ok'
