-- A worker takes a job, once. ARGV[3] process. Replies the job's record, or 'taken'.
local f, again = open('claim', 'record')
if type(again) == 'table' then return again end
if f[3] and f[3] ~= ARGV[3] then return 'taken' end
call('HSET', M, 'claim', ARGV[3])
return f[4]
