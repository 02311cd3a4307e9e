-- Counts: what the mirrors of the processes copy: of the store, its queues, and the types with a state.

local TOTALS = { 'cfg', 'accepted', 'evicted', 'evicted_early', 'deleted', 'live', 'terminal', 'live_bytes', 'bytes' }
local OF_QUEUE = { 'capacity', 'workers', 'delayed', 'queued', 'running', 'ended', 'started', 'run_ms',
  'runs', 'paused_at' }
local OF_TYPE = { 'concurrency', 'rate_count', 'rate_period_ms', 'burst', 'running', 'fails', 'until', 'since' }
local SETTINGS = { 'version', 'weight', 'capacity', 'workers', 'retry_budget', 'aging_ms', 'paused_at', 'pause_until' }
local TEXTS = { 'blob', 'digest', 'discipline', 'pause_reason', 'pause_by' }
local HOLDERS_MAX = 100

local function put(list, name, value)
  list[#list + 1], list[#list + 2] = name, value
end

local function totals(u)
  local store, found = unit.store(u), {}
  put(found, 'processes', redis.call('ZCARD', u.prefix .. 'procs'))
  put(found, 'records', redis.call('ZCARD', u.prefix .. 'i'))
  put(found, 'uniques', redis.call('HLEN', u.prefix .. 'u'))
  for _, name in ipairs(TOTALS) do put(found, name, store[name]) end
  for _, name in ipairs(BOUNDS) do put(found, name, store[name]) end
  put(found, 'joins', tonumber(redis.call('HGET', u.prefix .. 'meta', 'run')) or 0)
  return found
end

-- Some sublists of a queue, with those of groups in place of their bundle, and the lines of a fair queue.
local function with_groups(u, queue, names)
  local found, is_fair = {}, queue.discipline == 'fair'
  for index = 1, math.min(#names, JOBS_MAX) do
    local type_name = groups.type_of(names[index])
    local more = type_name and groups.some(u, queue.name, type_name, JOBS_MAX)
      or is_fair and fair.some(u, queue.name, names[index], JOBS_MAX) or { names[index] }
    queue.overwritten = queue.overwritten or more.err ~= nil
    for each = 1, #more do
      found[#found + 1] = more[each]
    end
  end
  return found
end

-- The first jobs of a queue's sublists tell since when the oldest one waits, but for priorities, and but for lifo and
-- fair with many groups.
local function oldest(u, queue, all)
  local first, names = -1, with_groups(u, queue, all)
  local at = queue.discipline == 'lifo' and -1 or 0
  for index = 1, math.min(#names, JOBS_MAX) do
    local ids = redis.pcall('ZRANGE', sublists.key(u, queue.name, names[index]), at, at)
    local job = ids[1] and records.get(u, ids[1])
    queue.overwritten = queue.overwritten or ids.err ~= nil
    local since = job and job.r
    if since and (first < 0 or since < first) then
      first = since
    end
  end
  return first
end

local function counts_of_queue(u, name)
  local queue, found = unit.queue(u, name), { name }
  put(found, 'live', unit.live(queue))
  for _, field in ipairs(OF_QUEUE) do put(found, field, queue[field]) end
  local names, active = sublists.of(u, name), redis.pcall('ZCARD', u.prefix .. 'a:' .. name)
  put(found, 'oldest', queue.queued > 0 and oldest(u, queue, names) or -1)
  local shut = 0
  for index = 1, math.min(#names, JOBS_MAX) do
    if not sublists.is_lane(names[index]) and not redis.pcall('ZSCORE', u.prefix .. 'a:' .. name, names[index]) then
      shut = shut + 1
    end
  end
  put(found, 'shut', shut)
  put(found, 'overwritten', (queue.overwritten or names.err or not tonumber(active)) and 1 or 0)
  return found
end

-- Counts of all groups of a type together, and the limits of each. Returns whether they have some.
local function put_groups(u, found, name)
  local bounds = groups.bounds(u, name)
  local counts = redis.call('HMGET', u.prefix .. 'g:' .. name, 'groups_running', 'groups_ready')
  put(found, 'groups_running', tonumber(counts[1]) or 0)
  put(found, 'groups_waiting', tonumber(counts[2]) or 0)
  for _, field in ipairs({ 'concurrency', 'rate_count', 'rate_period_ms', 'burst' }) do
    put(found, 'group_' .. field, bounds[field])
  end
  return bounds.concurrency > 0 or bounds.rate_count > 0
end

local function counts_of_type(u, name)
  local gate, found, waiting = limits.gate(u, name), { name }, 0
  for _, queue_name in ipairs(redis.call('SMEMBERS', u.prefix .. 'tq:' .. name)) do
    waiting = waiting + sublists.ready(u, unit.queue(u, queue_name), name)
  end
  put(found, 'lane', gate.lane or '')
  put(found, 'reason', gate.reason)
  for _, field in ipairs(OF_TYPE) do put(found, field, gate[field]) end
  put(found, 'waiting', waiting)
  put(found, 'free_at', limits.free_at(u, gate))
  local of_groups = put_groups(u, found, name)
  return found, of_groups or limits.is_limited(gate) or gate.fails > 0 or gate['until'] >= 0
end

function api.counts(keys, _)
  local u = unit.begin(keys)
  local of_queues, of_types = {}, {}
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'queues')) do
    of_queues[#of_queues + 1] = counts_of_queue(u, name)
  end
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'types')) do
    local found, has_state = counts_of_type(u, name)
    if has_state then
      of_types[#of_types + 1] = found
    end
  end
  return { u.now, totals(u), of_queues, of_types, ticks.next_at(u) }
end

function api.config(keys, _)
  local u = unit.begin(keys)
  local found = {}
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'queues')) do
    local of_queue = { name }
    local key = u.prefix .. 'q:' .. name
    local settings = redis.pcall('HMGET', key, unpack(SETTINGS))
    if not settings.err then -- else it was overwritten
      for index, value in ipairs(settings) do
        put(of_queue, SETTINGS[index], tonumber(value) or -1)
      end
      for index, value in ipairs(redis.call('HMGET', key, unpack(TEXTS))) do
        put(of_queue, TEXTS[index], value or '')
      end
      found[#found + 1] = of_queue
    end
  end
  return { u.now, unit.store(u).cfg, found }
end

local function holding(u, reply, name)
  local caller = unit.caller(u, name)
  for _, field in ipairs(CALLER_COUNTS) do
    reply[#reply + 1] = caller[field]
  end
end

function api.holdings(keys, args)
  local u = unit.begin(keys)
  local reply = { u.now }
  for index = 1, math.min(#args, HOLDERS_MAX) do
    holding(u, reply, args[index])
  end
  return reply
end

function api.holders(keys, args)
  local u = unit.begin(keys)
  local most = unit.number(args[1], 'the number of callers', 1, HOLDERS_MAX)
  local reply = { u.now, redis.call('ZCARD', u.prefix .. 'cr') <= most and 1 or 0 }
  for _, name in ipairs(redis.call('ZREVRANGE', u.prefix .. 'cr', 0, most - 1)) do
    reply[#reply + 1] = name
    holding(u, reply, name)
  end
  return reply
end
