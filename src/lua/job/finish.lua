-- The exit record of a job. ARGV[3] 'code map'.
local _, again = open('ttl')
if again then return again end
call('HSETNX', M, 'exit', ARGV[3])
return answer('ok')
