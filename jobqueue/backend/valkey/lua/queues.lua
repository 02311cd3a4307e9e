-- Queues, types and bounds: the settings that all processes share, and what operators do to queues.
--
-- The policy of a queue comes from the files of several processes, and from PATCH. The section of a file has a digest:
-- one that the store has seen as the latest changes nothing, so a PATCH outlives restarts; a new one wins once.

-- Of jobs that a change of discipline sorts in at once; ticks do the rest.
local PORTIONS_AT_ONCE = 5
local NUMBERS_PER_MS = 4
local DISCIPLINES = { fifo = true, lifo = true, priority = true, fair = true }

local function queue_key(u, name)
  return u.prefix .. 'q:' .. name
end

local function changed_settings(u)
  unit.store(u).cfg = unit.store(u).cfg + 1
end

local function check_policy(args)
  unit.number(args[5], 'capacity', 1, 2 ^ 40)
  unit.number(args[6], 'workers', 1, 2 ^ 40)
  unit.number(args[7], 'weight', 1, 2 ^ 40)
  unit.number(args[9], 'aging_ms', -1, 2 ^ 40)
  unit.number(args[10], 'retry_budget', 0, 2 ^ 40)
  if not DISCIPLINES[args[8]] then
    error({ err = 'ERR jobqueue: the discipline must be fifo, lifo, priority or fair, got ' .. tostring(args[8]) })
  end
end

-- All attempts that run.
local function running(u)
  local processes_seen, count = {}, 0
  for _, names in ipairs({ 'procs', 'dying' }) do
    for _, process in ipairs(redis.call('ZRANGE', u.prefix .. names, 0, -1)) do
      if not processes_seen[process] then
        processes_seen[process], count = true, count + redis.call('SCARD', u.prefix .. 'l:' .. process)
      end
    end
  end
  return count
end

-- The live jobs of a queue whose key is gone, by a hand that is not ours: those of the store that no other queue counts.
-- nil: the queue is new. Raises an error if the key of another one is gone, too.
local function uncounted(u, name)
  if redis.call('SISMEMBER', u.prefix .. 'queues', name) == 0 then
    return nil
  end
  local live, delayed, at_work = unit.store(u).live, redis.call('ZCARD', u.prefix .. 'd'), running(u)
  for _, other_name in ipairs(redis.call('SMEMBERS', u.prefix .. 'queues')) do
    local other = other_name ~= name and unit.queue(u, other_name)
    if other and not other.known then
      error({ err = 'ERR jobqueue: the keys of the queues ' .. name .. ' and ' .. other_name .. ' are gone, and with '
        .. 'two of them what each held: restore the store from a backup, or empty the namespace' })
    elseif other then
      live, delayed, at_work = live - unit.live(other), delayed - other.delayed, at_work - other.running
    end
  end
  return { delayed = delayed, running = at_work, queued = live - delayed - at_work }
end

-- Has a queue count its jobs again. Its next number is beyond all that it has given out: 4,000 a second since 1970.
local function count_again(u, queue, counts)
  queue.delayed, queue.queued, queue.running = counts.delayed, counts.queued, counts.running
  queue.seq = math.max(queue.seq, u.now * NUMBERS_PER_MS)
end

-- Sorts the ready jobs of a queue in anew: a portion now, the others in ticks.
local function sort_anew(u, queue)
  sublists.set_aside(u, queue)
  for _ = 1, PORTIONS_AT_ONCE do
    sublists.sort_in(u, STEPS_MAX)
  end
end

function api.set_queue(keys, args)
  local u = unit.begin(keys)
  check_policy(args)
  local name, digest, from_file = args[1], args[2], args[3] == '1'
  local key = queue_key(u, name)
  local before = redis.call('HMGET', key, 'digest', 'discipline', 'aging_ms', 'workers')
  local counts = not before[2] and uncounted(u, name)
  local taken = not from_file or before[1] ~= digest
  if taken then
    redis.call('HSET', key, 'blob', args[4], 'capacity', args[5], 'workers', args[6], 'weight', args[7],
      'discipline', args[8], 'aging_ms', args[9], 'retry_budget', args[10])
    if from_file then
      redis.call('HSET', key, 'digest', digest)
    end
    redis.call('HINCRBY', key, 'version', 1)
    redis.call('SADD', u.prefix .. 'queues', name)
    unit.pack_policy(u, name)
    local queue = unit.queue(u, name)
    if counts then
      count_again(u, queue, counts)
      sort_anew(u, queue)
    elseif before[2] and (before[2] ~= args[8] or (args[8] == 'priority' and before[3] ~= args[9])) then
      sort_anew(u, queue)
    end
    if before[4] and tonumber(args[6]) > tonumber(before[4]) then
      u.readied = u.readied + 1
    end
    changed_settings(u)
    events.add(u, { 'e', 'policy', 'q', name })
  end
  unit.finish(u)
  local now = redis.call('HMGET', key, 'version', 'blob', 'digest')
  return { u.now, tonumber(now[1]), taken and 1 or 0, now[2], now[3] or '' }
end

function api.pause(keys, args)
  local u = unit.begin(keys)
  local queue, lasts = unit.queue(u, args[1]), unit.number(args[3], 'for_ms', -1, 2 ^ 40)
  if not queue.known then
    return { u.now, 0, -1 }
  end
  local since = queue.paused_at >= 0 and queue.paused_at or u.now
  local ends = lasts >= 0 and u.now + lasts or -1
  redis.call('HSET', queue_key(u, args[1]), 'paused_at', num(since), 'pause_until', num(ends),
    'pause_reason', args[2], 'pause_by', args[4])
  unit.pack_policy(u, args[1])
  if ends >= 0 then
    redis.call('ZADD', u.prefix .. 'pz', num(ends), args[1])
  else
    redis.call('ZREM', u.prefix .. 'pz', args[1])
  end
  changed_settings(u)
  events.add(u, {
    'e', 'paused', 'q', args[1], 'by', args[4], 'reason', args[2], 'since', num(since), 'until', num(ends),
  })
  unit.finish(u)
  return { u.now, 1, since }
end

local queues = {}

function queues.resume(u, name, by)
  redis.call('ZREM', u.prefix .. 'pz', name)
  local was_paused = redis.call('HDEL', queue_key(u, name), 'paused_at', 'pause_until', 'pause_reason', 'pause_by') > 0
  if was_paused then
    unit.pack_policy(u, name)
    u.readied = u.readied + 1
    changed_settings(u)
    events.add(u, { 'e', 'resumed', 'q', name, 'by', by })
  end
  return was_paused
end

function api.resume(keys, args)
  local u = unit.begin(keys)
  local was_paused = queues.resume(u, args[1], args[2])
  unit.finish(u)
  return { u.now, was_paused and 1 or 0 }
end

function api.set_types(keys, args)
  local u = unit.begin(keys)
  local count = unit.items(args, 1, 10, JOBS_MAX)
  for index = 0, count - 1 do
    local at = 1 + 10 * index
    local name, key = args[at + 1], u.prefix .. 'g:' .. args[at + 1]
    unit.number(args[at + 3], 'concurrency', 0, 2 ^ 30)
    local rate_count = unit.number(args[at + 4], 'rate_count', 0, 2 ^ 30)
    local period = unit.number(args[at + 5], 'rate_period_ms', 0, 2 ^ 40)
    local of_groups = groups.packed_bounds(args, at + 7)
    local before = redis.call('HMGET', key, 'rate_count', 'rate_period_ms', 'burst', 'of_groups')
    redis.call('HSET', key, 'lane', args[at + 2], 'concurrency', args[at + 3], 'rate_count', num(rate_count),
      'rate_period_ms', num(period), 'burst', args[at + 6], 'of_groups', of_groups)
    if before[1] ~= args[at + 4] or before[2] ~= args[at + 5] or before[3] ~= args[at + 6] then
      redis.call('HDEL', key, 'tat') -- a new rate starts with a full bucket
    end
    if before[4] ~= of_groups then
      sublists.set_groups_aside(u, name)
    end
    redis.call('SADD', u.prefix .. 'types', name)
    u.gates[name] = true
  end
  u.readied = u.readied + count
  unit.finish(u)
  return { u.now }
end

function api.set_bounds(keys, args)
  local u = unit.begin(keys)
  local names = { 'jobs_max', 'failed_max', 'bytes_max', 'ttl_ms', 'failed_ttl_ms', 'ev_maxlen' }
  local values, store = {}, unit.store(u)
  for index, name in ipairs(names) do
    values[index] = unit.number(args[index], name, 0, 2 ^ 50)
  end
  for index, name in ipairs(names) do
    store[name] = values[index]
  end
  unit.write_bounds(u)
  return { u.now }
end

function api.release(keys, args)
  local u = unit.begin(keys)
  local reply = operators.remembered(u, args[1])
  if reply then
    return reply
  end
  local gate = limits.gate(u, args[2])
  local was_shut = gate['until'] >= 0
  if was_shut then
    limits.open(u, gate, u.now)
    u.readied = u.readied + 1
  end
  unit.finish(u)
  return operators.remember(u, args[1], { u.now, was_shut and 1 or 0 })
end
