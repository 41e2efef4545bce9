-- A worker takes a job, once. ARGV[3] process. Replies the job's record, or 'taken'.
local fields, answered = open(CLAIM, RECORD)
if type(answered) == 'table' then return answered end
if fields[3] and fields[3] ~= ARGV[3] then return 'taken' end
call('HSET', OBJECT, CLAIM, ARGV[3])
return fields[4]
