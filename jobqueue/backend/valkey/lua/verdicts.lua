-- Verdicts: the outcome of an attempt, its progress, and that it is to stop.
--
-- Rules:
--
-- 1. A verdict counts only for a running job, from the process that runs it, with the number of its attempt.
-- 2. The same verdict again is answered as done (`AGAIN`): the record keeps which attempt gave the last one, but for
--    successes: only that attempt can have made the job succeed.
-- 3. Why an attempt was asked to stop decides over what it reports: a cancelled one is cancelled; one that timed out
--    has failed by its timeout. A success counts unless it comes after its timeout.

local DONE, AGAIN, STALE, TIMED_OUT, NO_ROOM = 1, 2, 0, 3, 4

-- The job, if this attempt holds it; else the code of the reply.
local function held(u, process, id, attempt, is_brief)
  local job = is_brief and records.brief(u, id) or records.get(u, id)
  if not job then
    return nil, STALE, '', 0
  end
  if job.s == 'r' and job.a == attempt and job.w == process then
    return job
  end
  local again = job.a == attempt and (job.s == 's' or records.whole(job).k == attempt)
  return nil, again and AGAIN or STALE, job.s, job.v
end

-- Reads the records of all items, whose arguments, `width` for each, begin after the second.
local function fetch(u, args, width)
  local ids = {}
  for index = 1, unit.items(args, 2, width, JOBS_MAX) do
    ids[index] = args[3 + width * (index - 1)]
  end
  records.fetch(u, ids)
  return #ids
end

-- Calls `conclude(u, job, at)` for each item, and writes what it did. `width`: arguments of each item.
local function each(keys, args, width, conclude, with_at, succeeded)
  local u = unit.begin(keys)
  local reply = { u.now }
  local most, index = fetch(u, args, width), 1
  while index <= most do
    index = index + (succeeded and plain.succeed(u, args, index, most, reply) or 0)
    if index > most then
      break
    end
    local at = 2 + width * (index - 1)
    local job, code, state, version = held(u, args[1], args[at + 1], tonumber(args[at + 2]), succeeded)
    local instant = -1
    if job then
      code, instant = conclude(u, job, at)
      if code == DONE and not succeeded then
        job.k = job.a
      end
      records.write(u, job)
      state, version = job.s, job.v
    end
    local base = #reply
    reply[base + 1], reply[base + 2], reply[base + 3] = code, state, version
    if with_at then
      reply[base + 4] = instant or -1
    end
    index = index + 1
  end
  if u.any_failed then
    records.bound_failed(u)
  end
  unit.finish(u)
  return reply
end

-- Whether a live job's result fits in place of its arguments.
local function has_room(u, job, result)
  local more = #result - job.x
  local store, claims = unit.store(u), job.kind.claims
  local fits = store.live_bytes + more <= store.bytes_max
  if fits and claims.bytes_max then
    fits = unit.caller(u, claims.caller or '').live_bytes + more <= claims.bytes_max
  end
  if fits and more > 0 then
    records.make_room(u, claims, claims.caller or '', 0, more)
  end
  return fits
end

function api.ack(keys, args)
  return each(keys, args, 3, function(u, job, at)
    if job.st == 'timed_out' then
      return TIMED_OUT
    elseif not has_room(u, job, args[at + 3]) then
      return NO_ROOM
    end
    limits.succeeded(u, job.kind.spec.type, job.o)
    transitions.finish(u, job, 's', { result = args[at + 3] })
    return DONE
  end, false, true)
end

local function fail(u, job, failure)
  local queue, spec = unit.queue(u, job.kind.q), job.kind.spec
  records.remember(u, job, failure.code, failure.message, failure.traceback)
  if failure.blame then
    limits.failed(u, queue, limits.gate(u, spec.type), job.o, failure.code .. ': ' .. failure.message)
  end
  if failure.final or job.a - job.n >= spec.attempts_max then
    transitions.finish(u, job, 'f', failure)
  elseif failure.code == 'worker_crashed' then
    transitions.to_queued(u, job, true)
    events.of_job(u, 'queued', job)
  else
    transitions.to_delayed(u, job, u.now + failure.delay)
    events.of_job(u, 'retrying', job)
    return DONE, job.d
  end
  return DONE
end

function api.nack(keys, args)
  return each(keys, args, 8, function(u, job, at)
    local failure = {
      code = args[at + 3],
      message = args[at + 4],
      traceback = args[at + 5],
      blame = args[at + 6] == '1',
      final = args[at + 7] == '1',
      delay = unit.number(args[at + 8], 'delay_ms', 0, 2 ^ 40),
    }
    if job.st == 'cancelled' then
      transitions.finish(u, job, 'c')
      return DONE
    elseif job.st == 'shutdown' then
      transitions.give_back(u, job)
      return DONE
    elseif job.st == 'timed_out' and failure.code ~= 'timed_out' then
      return TIMED_OUT
    end
    return fail(u, job, failure)
  end, true)
end

function api.stopped(keys, args)
  return each(keys, args, 3, function(u, job, at)
    local reason = job.st or args[at + 3]
    if reason == 'timed_out' then
      return TIMED_OUT
    elseif reason == 'cancelled' then
      transitions.finish(u, job, 'c')
    else
      transitions.give_back(u, job)
    end
    return DONE
  end)
end

function api.give_back(keys, args)
  return each(keys, args, 2, function(u, job)
    transitions.give_back(u, job)
    return DONE
  end)
end

function api.stop(keys, args)
  local u = unit.begin(keys)
  local job = held(u, args[1], args[2], tonumber(args[3]))
  if not job then
    return { u.now, STALE, '', 0 }
  end
  local code = job.st and AGAIN or DONE
  transitions.request_stop(u, job, args[4])
  records.write(u, job)
  unit.finish(u)
  return { u.now, code, job.st, job.v }
end

function api.report(keys, args)
  local u = unit.begin(keys)
  local reply = { u.now }
  for index = 1, fetch(u, args, 3) do
    local at = 2 + 3 * (index - 1)
    local job = held(u, args[1], args[at + 1], tonumber(args[at + 2]))
    if job then
      if job.P ~= args[at + 3] then
        job.P, job.v = args[at + 3], job.v + 1
        records.write(u, job)
        events.of_job(u, 'progress', job, 'P', args[at + 3])
      end
      reply[#reply + 1], reply[#reply + 2] = DONE, job.v
    else
      reply[#reply + 1], reply[#reply + 2] = STALE, 0
    end
  end
  unit.finish(u)
  return reply
end
