-- Processes: their liveness, which is the lease of all that they run.
--
-- Rules:
--
-- 1. A process is alive while it is in `procs`. It joins once, under a name that is never used again; a beat prolongs
--    it and never makes it anew, so one that was given up learns it.
-- 2. A dead process is first taken out of `procs`, then its jobs go back, a portion a tick (`dying`).
-- 3. `reconcile` compares what the store says a process runs with what it says itself: the reply of a lease may
--    be lost.
-- 4. Those that were lost are told for a while, with when they were heard last: `servers`.
-- 5. After a restart of the store nothing is given up for a while: all look dead, since none could beat.

local processes = {}

local FORMAT = 1
local RUN_MIN, RUN_COUNT = 4096, 262144 - 4096
local HELD_MAX = 100000 -- as many as a queue may have workers
local WAKE_MAX = 8
local GRACE_TTLS = 2
local TOLD_MAX = 100
local LOST_MAX = 20
local TYPES_TOLD = 5
local COMPARED_MAX = 8 -- sets of types, of up to a thousand each

function processes.is_alive(u, process)
  return redis.call('ZSCORE', u.prefix .. 'procs', process) and true or false
end

-- Wakes processes that wait for work: a hint, since one that misses it looks by itself after a second.
function processes.wake(u, jobs)
  for _, process in ipairs(redis.call('SPOP', u.prefix .. 'idle', math.min(jobs, WAKE_MAX))) do
    redis.call('HSET', u.prefix .. 'p:' .. process, 'idle', '0')
    redis.call('PUBLISH', u.prefix .. 'wake:' .. process, 'lease')
  end
end

-- Notes which server answers: after a restart the processes get time to be heard.
local function note_server(u, server, ttl)
  local store, key = unit.store(u), u.prefix .. 'meta'
  local before = redis.call('HGET', key, 'server')
  if before ~= server then
    redis.call('HSET', key, 'server', server)
    if before then
      store.grace_until = u.now + GRACE_TTLS * ttl
      unit.write_bounds(u)
    end
  end
end

function api.join(keys, args)
  local u = unit.begin(keys)
  local process, ttl = args[1], unit.number(args[2], 'ttl_ms', 1, 2 ^ 40)
  local count = unit.number(args[6], 'the number of types', 0, 1000)
  local meta, record = u.prefix .. 'meta', u.prefix .. 'p:' .. process
  if redis.call('HSETNX', meta, 'secret', args[4]) == 1 then
    redis.call('HSET', meta, 'format', num(FORMAT), 'born', num(u.now))
  end
  note_server(u, args[3], ttl)
  local run = redis.call('HGET', record, 'run')
  if not run then
    run = num(RUN_MIN + redis.call('HINCRBY', meta, 'run', 1) % RUN_COUNT)
    redis.call('HSET', record, 'run', run, 'info', args[5], 'joined', u.now, 'ttl', ttl, 'all', count == 0 and '1' or '0')
    local types = {}
    for index = 1, count do
      types[index] = args[6 + index]
      redis.call('SADD', u.prefix .. 'y:' .. process, types[index])
    end
    if count > 0 then
      table.sort(types)
      redis.call('HSET', record, 'types', redis.sha1hex(table.concat(types, ' ')))
    end
    redis.call('ZADD', u.prefix .. 'procs', num(u.now + ttl), process)
  end
  local known = redis.call('HMGET', meta, 'secret', 'format', 'born')
  unit.finish(u)
  return { u.now, tonumber(run), known[1], tonumber(known[2]), tonumber(known[3]), unit.store(u).grace_until }
end

local function forget(u, process)
  redis.call('ZREM', u.prefix .. 'procs', process)
  redis.call('ZREM', u.prefix .. 'dying', process)
  redis.call('SREM', u.prefix .. 'idle', process)
  redis.call('DEL', u.prefix .. 'p:' .. process, u.prefix .. 'y:' .. process, u.prefix .. 'stop:' .. process)
end

function api.beat(keys, args)
  local u = unit.begin(keys)
  local process, ttl = args[1], unit.number(args[2], 'ttl_ms', 1, 2 ^ 40)
  if not processes.is_alive(u, process) then
    return { u.now, 0, -1, 0 }
  end
  redis.call('ZADD', u.prefix .. 'procs', num(u.now + ttl), process)
  local stops = redis.call('HGETALL', u.prefix .. 'stop:' .. process)
  local reply = { u.now, 1, ticks.next_at(u), math.min(JOBS_MAX, #stops / 2) }
  for index = 1, math.min(2 * JOBS_MAX, #stops), 2 do
    local attempt, reason = string.match(stops[index + 1], '^(%d+) (.*)$')
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = stops[index], tonumber(attempt), reason
  end
  return reply
end

function api.reconcile(keys, args)
  local u = unit.begin(keys)
  local process, ttl = args[1], unit.number(args[2], 'ttl_ms', 1, 2 ^ 40)
  local count = unit.items(args, 4, 2, HELD_MAX)
  if not processes.is_alive(u, process) then
    return { u.now, 0, 0, 0, 0 }
  end
  redis.call('ZADD', u.prefix .. 'procs', num(u.now + ttl), process)
  note_server(u, args[3], ttl)
  local held, lost = {}, {}
  for first = 1, count, STEPS_MAX do
    local ids = {}
    for index = first, math.min(count, first + STEPS_MAX - 1) do
      ids[#ids + 1] = args[3 + 2 * index]
    end
    records.fetch(u, ids)
    for index, id in ipairs(ids) do
      local job, attempt = records.get(u, id), tonumber(args[4 + 2 * (first + index - 1)])
      if not job or job.s ~= 'r' or job.a ~= attempt or job.w ~= process then
        lost[#lost + 1], lost[#lost + 2] = id, attempt
      else
        held[id] = true
      end
    end
    u.records = {} -- it may be a hundred thousand
  end
  local returned, left = {}, 0
  -- At most as many as it may hold, and the portion beyond: a process runs some thousand at a time.
  for _, id in ipairs(draw.some(u, u.prefix .. 'l:' .. process, count + STEPS_MAX)) do
    local job = not held[id] and records.get_run_by(u, process, id)
    if job and #returned < JOBS_MAX then
      transitions.give_back(u, job)
      records.write(u, job)
      returned[#returned + 1] = id
    elseif job then
      left = left + 1
    end
  end
  unit.finish(u)
  local reply = { u.now, 1, left, #returned }
  for _, id in ipairs(returned) do reply[#reply + 1] = id end
  reply[#reply + 1] = #lost / 2
  for _, value in ipairs(lost) do reply[#reply + 1] = value end
  return reply
end

function api.leave(keys, args)
  local u = unit.begin(keys)
  local process = args[1]
  local running = u.prefix .. 'l:' .. process
  local returned = {}
  for _, id in ipairs(draw.some(u, running, STEPS_MAX)) do
    local job = records.get_run_by(u, process, id)
    if job then
      transitions.give_back(u, job)
      records.write(u, job)
      returned[#returned + 1], returned[#returned + 2] = id, job.a
    end
  end
  local left = redis.call('SCARD', unit.settled(u, running))
  if left == 0 then
    forget(u, process)
  end
  unit.finish(u)
  local reply = { u.now, left, #returned / 2 }
  for _, value in ipairs(returned) do reply[#reply + 1] = value end
  return reply
end

-- Ends an attempt that was lost with its process. Returns its new state.
local function reap(u, job)
  if job.st == 'cancelled' then
    transitions.finish(u, job, 'c')
  elseif job.st == 'shutdown' then
    transitions.give_back(u, job)
  else
    local message = 'the process that ran it was lost'
    records.remember(u, job, 'worker_crashed', message, '')
    if job.a - job.n >= job.kind.spec.attempts_max then
      transitions.finish(u, job, 'f', { code = 'worker_crashed', message = message })
    else
      transitions.to_queued(u, job, true)
      job.rc = job.a + 1
      events.of_job(u, 'queued', job)
    end
  end
  return job.s
end

-- What a process said of itself when it joined.
local function info_of(u, process)
  return redis.call('HGET', u.prefix .. 'p:' .. process, 'info') or ''
end

-- Notes that a process is lost: when it joined and was heard last, its info, and how many jobs it ran.
local function note_lost(u, process, alive_until)
  local values = redis.call('HMGET', u.prefix .. 'p:' .. process, 'joined', 'ttl', 'info')
  local joined, ttl = tonumber(values[1]) or u.now, tonumber(values[2]) or 0
  local lost = { joined, alive_until - ttl, values[3] or '', redis.call('SCARD', u.prefix .. 'l:' .. process) }
  redis.call('LPUSH', u.prefix .. 'lost', cmsgpack.pack(lost))
  redis.call('LTRIM', u.prefix .. 'lost', 0, LOST_MAX - 1)
end

-- Some types of which a process has a handler, and another one has none.
local function types_beyond(u, process, other)
  local found = redis.call('SDIFF', u.prefix .. 'y:' .. process, u.prefix .. 'y:' .. other)
  return { unpack(found, 1, math.min(#found, TYPES_TOLD)) }
end

-- Compares types by their digests: those of further processes with the same digest were compared already. Returns a
-- function that gives the types that a process has alone, and those that it lacks. One that named no types has all.
local function comparison(u, process)
  local own = redis.call('HGET', u.prefix .. 'p:' .. process, 'types')
  local compared, count = {}, 0
  return function(other, digest)
    if own and digest and digest ~= own and not compared[digest] and count < COMPARED_MAX then
      compared[digest] = { types_beyond(u, process, other), types_beyond(u, other, process) }
      count = count + 1
    end
    return unpack(compared[digest] or { {}, {} })
  end
end

-- The processes that share the store (name, joined, info, and types that the asking process has alone, and that it
-- lacks), and those that were lost lately (joined, heard last, info, number of jobs).
function api.servers(keys, args)
  local u = unit.reading(keys)
  local here, lost, compare = {}, {}, comparison(u, args[1])
  for _, process in ipairs(redis.call('ZRANGE', u.prefix .. 'procs', 0, TOLD_MAX - 1)) do
    local values = redis.call('HMGET', u.prefix .. 'p:' .. process, 'joined', 'info', 'types')
    here[#here + 1] = { process, tonumber(values[1]) or u.now, values[2] or '', compare(process, values[3]) }
  end
  for index, packed in ipairs(redis.call('LRANGE', u.prefix .. 'lost', 0, LOST_MAX - 1)) do
    lost[index] = cmsgpack.unpack(packed)
  end
  return { u.now, here, lost }
end

-- Takes the jobs of dead processes away, at most this many. Returns the number, and fills the lists: id, attempt and
-- the info of its process; name and info of a process.
function processes.reap(u, most, requeued, failed, dead)
  local prefix, count = u.prefix, 0
  if unit.store(u).grace_until <= u.now then
    local overdue =
      redis.call('ZRANGEBYSCORE', prefix .. 'procs', '-inf', num(u.now), 'WITHSCORES', 'LIMIT', 0, most)
    for index = 1, #overdue, 2 do
      local process = overdue[index]
      note_lost(u, process, tonumber(overdue[index + 1]))
      redis.call('ZREM', prefix .. 'procs', process)
      redis.call('ZADD', prefix .. 'dying', u.now, process)
      redis.call('HSET', prefix .. 'p:' .. process, 'dead', '1')
      dead[#dead + 1], dead[#dead + 2] = process, info_of(u, process)
    end
  end
  for _, process in ipairs(redis.call('ZRANGE', prefix .. 'dying', 0, most - 1)) do
    local running, info = prefix .. 'l:' .. process, info_of(u, process)
    for _, id in ipairs(count < most and draw.some(u, running, most - count) or {}) do
      local job = records.get_run_by(u, process, id)
      if job then
        local list = reap(u, job) == 'f' and failed or requeued
        list[#list + 1], list[#list + 2], list[#list + 3] = id, job.a, info
        records.write(u, job)
      end
      count = count + 1
    end
    if redis.call('SCARD', unit.settled(u, running)) == 0 then
      forget(u, process)
    end
  end
  if u.any_failed then
    records.bound_failed(u)
  end
  return count
end
