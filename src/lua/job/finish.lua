-- Writes the exit record of a job. ARGV[4] the sealed record.
local _, answered = open()
if answered then return answered end
call('HSETNX', OBJECT, EXIT, ARGV[4])
return answer(OK)
