-- A claimant takes a job, once. ARGV[4] the claimant. Replies the job's record, or 'taken'.
local fields, refused = read(CLAIM, RECORD)
if refused then return refused end
if fields[2] and fields[2] ~= ARGV[4] then return TAKEN end
call('HSET', OBJECT, CLAIM, ARGV[4])
return fields[3]
