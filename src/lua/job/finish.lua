-- The exit record of a job. ARGV[3] 'CODE VERSIONS'.
local _, answered = open()
if answered then return answered end
call('HSETNX', OBJECT, EXIT, ARGV[3])
return answer('ok')
