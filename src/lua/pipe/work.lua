-- Sends the result of the task that this thread took last, which acknowledges the task, and takes the next tasks, in one step.
-- ARGV[4] the end that the result is for; ARGV[5] '1' to queue as a taker if there is no task, ARGV[6] the size of the result
-- in bytes, ARGV[7] the result, ARGV[8] how many tasks to take at most: this thread's share of those that wait, and at least
-- ARGV[9]; ARGV[10] the name of the batch that several tasks will be, ARGV[11] how many results of the batch before were sent,
-- which ends. Replies the tasks, 'wait WAITER' or 'none'.
local to, from = ARGV[4], other_end(ARGV[4])
local in_flight, tasks = OBJECT .. IN_FLIGHT .. CALLER, OBJECT .. ITEMS .. from
local fields, answered = open(HOLDERS .. to, BOUND, HAS_WAITED, SPILLED .. to, SPILLED .. from, FILL .. to, FILL .. from,
  OPENED .. from, WATCHED .. to, BATCH .. CALLER, ONE_BY_ONE, SUSPECTS)
if answered then return answered == TOOK and in_flight_items() or answered end
if tonumber(fields[3]) <= 0 then return answer(NONE) end
local batch = fields[12]
local results, more = results_of(CALLER, batch, ARGV[11])
if results.err then return results end
unspill(to, fields[6])
unspill(from, fields[7])
results[#results + 1] = ARGV[7]
push(OBJECT .. ITEMS .. to, unpack(results))
if batch then call('DEL', progress_key(CALLER, batch)) end
if fields[5] then hand_out(to, fields[11]) else ring(to, fields[11]) end
local written = {added(to, ARGV[6] + more, fields[4], fields[8])}
acknowledge(#results, CALLER)
local out, most = {}, 1
local suspects = fields[14]
if ARGV[8] ~= '1' and not fields[13] and not suspects then
  most = math.min(ARGV[8], math.max(ARGV[9], math.ceil(call('LLEN', tasks) / fields[10])))
end
local size = take_some(tasks, most, 65536, function(item) return string.match(item, TASK_HEAD) end, out)
if #out > 0 then
  if suspects == '1' then call('HDEL', OBJECT, SUSPECTS) elseif suspects then call('HINCRBY', OBJECT, SUSPECTS, -1) end
  -- They are in work in the place of the last one.
  written[3], written[4] = taken(from, size, fields[4], fields[5], fields[9])
  if #out > 1 then
    begin_results(ARGV[10])
    written[5], written[6] = BATCH .. CALLER, ARGV[10]
  elseif batch then
    call('HDEL', OBJECT, BATCH .. CALLER)
  end
  answer(TOOK, WORKS .. CALLER, 1, unpack(written))
  return out
end
call('HDEL', OBJECT, WORKS .. CALLER, BATCH .. CALLER)
-- If there is something, it is no task.
local item = call('LMOVE', tasks, in_flight, 'LEFT', 'LEFT')
if item then
  answer(TOOK, unpack(written))
  return {item}
end
if ARGV[5] == '0' then return answer(NONE, unpack(written)) end
return wait(TAKERS .. from, unpack(written))
