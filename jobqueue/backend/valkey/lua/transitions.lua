-- Transitions: the side effects of each change of state: counts, permits, place, lease, deadlines, uniqueness, event.
--
-- Whatever moves a job moves it here, so that none can be forgotten. The caller writes the record afterwards.

local transitions = {}

local COUNTS_OF = { d = 'delayed', q = 'queued', r = 'running' }
local NAMES = { s = 'succeeded', f = 'failed', c = 'cancelled', x = 'expired' }

function transitions.attempt_name(job)
  return job.id .. ':' .. num(job.a)
end

local function leave_running(u, queue, job)
  unit.leave(u, unit.key(u, 'l:' .. job.w), job.id)
  if job.st then
    redis.call('HDEL', u.prefix .. 'stop:' .. job.w, job.id)
    job.st = nil
  end
  if job.l then
    limits.leave(u, limits.gate(u, job.kind.spec.type), transitions.attempt_name(job))
    local sublist = records.whole(job).b -- it was taken from there
    if groups.split(sublist) then
      groups.leave(u, sublist)
    end
    job.l = false
  end
  queue.runs, queue.run_ms = queue.runs + 1, queue.run_ms + math.max(0, u.now - (job.o or u.now))
  if queue.running >= queue.workers then
    u.readied = u.readied + 1 -- a place of the queue is free again
  end
end

local function leave(u, queue, job)
  if job.s == 'r' then
    leave_running(u, queue, job)
  else
    if job.s == 'q' then
      sublists.remove(u, job.kind.q, job.b, job.id)
    else
      unit.remove(u, u.prefix .. 'd', job.id)
    end
    if job.t then
      unit.remove(u, u.prefix .. 's', job.id)
    end
  end
  queue[COUNTS_OF[job.s]] = queue[COUNTS_OF[job.s]] - 1
end

local function moved(job, state)
  job.s, job.v = state, job.v + 1
end

-- Start-by is about the first start: a later attempt has been started in time.
function transitions.watch_start_by(u, job)
  if job.t and job.a == 0 then
    unit.add(u, u.prefix .. 's', job.t, job.id)
  end
end

-- Makes a job ready; `back`: at its place of before, since it was taken and not finished.
function transitions.to_queued(u, job, back)
  local queue, spec = unit.queue(u, job.kind.q), job.kind.spec
  leave(u, queue, job)
  moved(job, 'q')
  queue.queued = queue.queued + 1
  if not (back and job.sq) then
    queue.seq = queue.seq + 1
    job.sq = queue.seq
  end
  if not (back and job.r) then
    job.r = u.now
  end
  local sublist = sublists.of_kind(u, queue, job.kind)
  job.b = sublist
  sublists.push(u, queue, sublist, job.id, spec.priority, job.sq, job.r)
  transitions.watch_start_by(u, job)
end

function transitions.to_delayed(u, job, at)
  local queue = unit.queue(u, job.kind.q)
  leave(u, queue, job)
  moved(job, 'd')
  queue.delayed = queue.delayed + 1
  job.d = at
  unit.add(u, u.prefix .. 'd', at, job.id)
end

-- Starts the next attempt of a job that was popped from its sublist.
function transitions.to_running(u, job, process)
  local queue = unit.queue(u, job.kind.q)
  queue.queued, queue.running, queue.started = queue.queued - 1, queue.running + 1, queue.started + 1
  if job.t then
    unit.remove(u, u.prefix .. 's', job.id)
  end
  if job.a > 0 then
    records.whole(job).P = ''
  end
  job.s, job.v, job.a, job.o, job.w = 'r', job.v + 1, job.a + 1, u.now, process
  unit.join(u, unit.key(u, 'l:' .. process), job.id)
  events.of_job(u, 'started', job)
end

-- Ends a job. `result`: of one that succeeded; `code`, `message`: of one that failed.
function transitions.finish(u, job, state, ending)
  local queue = unit.queue(u, job.kind.q)
  leave(u, queue, job)
  moved(job, state)
  job.f = u.now
  queue.ended = queue.ended + 1
  local size = job.z
  if state ~= 'f' then
    size = size - job.x
    records.drop_args(u, job)
  end
  if ending and ending.result then
    size = size + #ending.result
    records.keep(u, job, 'R', 'res:', ending.result)
    job.y = #ending.result
  end
  local error_text = ''
  if ending and ending.code then
    error_text = cmsgpack.pack({ ending.code, ending.message })
    job.E = error_text
  end
  uniqueness.release(u, job)
  records.file(u, job, size)
  if state == 'f' then
    events.of_job(u, NAMES[state], job, 'E', error_text)
  else
    events.of_job(u, NAMES[state], job)
  end
end

-- Marks a running job as stopping, and tells its process.
function transitions.request_stop(u, job, reason)
  if job.st then
    return
  end
  job.st, job.v = reason, job.v + 1
  redis.call('HSET', u.prefix .. 'stop:' .. job.w, job.id, num(job.a) .. ' ' .. reason)
  redis.call('PUBLISH', u.prefix .. 'wake:' .. job.w, 'stop')
  events.of_job(u, 'stopping', job, 'reason', reason)
end

function transitions.cancel(u, job)
  if job.s == 'r' then
    transitions.request_stop(u, job, 'cancelled')
  else
    transitions.finish(u, job, 'c')
  end
end

-- Gives an attempt back: its job is queued at its place, and the attempt is not charged.
function transitions.give_back(u, job)
  job.n = job.n + 1
  transitions.to_queued(u, job, true)
  job.P = ''
  events.of_job(u, 'queued', job)
end
