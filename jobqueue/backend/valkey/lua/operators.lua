-- Operators: cancel, delete, retry and run_now, of many jobs in one call.
--
-- Each changes what it was asked for, so a resend would find it done and say that it can't be. The reply of a call is
-- kept for a minute under the call's token, and given again.

local DONE, MISSING = 1, 0
local REMEMBERED_MS = 60000

local operators = {}

function operators.remembered(u, token)
  local packed = token ~= '' and redis.call('GET', u.prefix .. 'op:' .. token)
  if not packed then
    return nil
  end
  local reply = cmsgpack.unpack(packed)
  reply[1] = u.now
  return reply
end

function operators.remember(u, token, reply)
  if token ~= '' then
    redis.call('SET', u.prefix .. 'op:' .. token, cmsgpack.pack(reply), 'PX', REMEMBERED_MS)
  end
  return reply
end

-- Calls `act(u, job)` for each id, which returns a code and, with `with_other`, a text.
local function each(keys, args, act, with_other)
  local u = unit.begin(keys)
  local count = unit.items(args, 2, 1, JOBS_MAX)
  local reply = operators.remembered(u, args[1])
  if reply then
    return reply
  end
  reply = { u.now }
  records.fetch(u, { unpack(args, 3) })
  for index = 1, count do
    local job = records.get(u, args[2 + index])
    local code, other = MISSING, nil
    if job then
      code, other = act(u, job)
      if not job.gone then
        records.write(u, job)
      end
    end
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = code, job and job.s or '', job and job.v or 0
    if with_other then
      reply[#reply + 1] = other or ''
    end
  end
  unit.finish(u)
  return operators.remember(u, args[1], reply)
end

function api.cancel(keys, args)
  return each(keys, args, function(u, job)
    if not records.is_live(job.s) then
      return WRONG_STATE
    end
    transitions.cancel(u, job)
    return DONE
  end)
end

function api.delete(keys, args)
  return each(keys, args, function(u, job)
    if records.is_live(job.s) then
      return WRONG_STATE
    end
    records.evict(u, job)
    unit.store(u).deleted = unit.store(u).deleted + 1
    job.gone = true
    return DONE
  end)
end

local function retry_one(u, job)
  local spec, claims = job.kind.spec, job.kind.claims
  if job.s ~= 'f' then
    return WRONG_STATE
  end
  local holder = claims.value and uniqueness.holder(u, spec, claims)
  if holder then
    return VALUE_TAKEN, holder.id
  end
  local queue = unit.queue(u, job.kind.q)
  if not queue.known then
    return UNKNOWN_QUEUE
  end
  local code, _, text = admission.check(u, queue, spec, job.z, claims)
  if code then
    return code, text
  end
  records.revive(u, job)
  uniqueness.stake(u, job.id, spec, claims)
  job.n, job.d, job.o, job.f, job.P, job.E, job.k = job.a, u.now, nil, nil, '', '', -1
  queue.seq, queue.queued = queue.seq + 1, queue.queued + 1
  local sublist = sublists.of_kind(u, queue, job.kind)
  job.s, job.v, job.sq, job.r, job.b = 'q', job.v + 1, queue.seq, u.now, sublist
  sublists.push(u, queue, sublist, job.id, spec.priority, queue.seq, u.now)
  events.of_job(u, 'retried', job)
  return DONE
end

function api.retry(keys, args)
  return each(keys, args, retry_one, true)
end

function api.run_now(keys, args)
  return each(keys, args, function(u, job)
    if job.s ~= 'd' then
      return WRONG_STATE
    end
    transitions.to_queued(u, job)
    job.d = u.now
    events.of_job(u, 'queued', job)
    return DONE
  end)
end
