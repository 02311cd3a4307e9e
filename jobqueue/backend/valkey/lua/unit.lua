-- The unit of work of one call: what it has read, and what is to be written at its end.
--
-- Rules:
--
-- 1. A count that many jobs of a call change is read once and written once: what costs is each `redis.call`. Counts are
--    packed into one field, `n`, and bounds and policies as most calls need them into `b` and `p`: to read a number of
--    a field of its own takes as long as a dozen of a packed one.
-- 2. Nothing is undone when a call fails midway, so arguments are checked before the first change.
-- 3. `redis.call` and `math` don't exist while the library is loaded: they are looked up within the bodies.
-- 4. Lua joins numbers with 14 digits, and as an argument of `redis.call` a number takes longer to write than the
--    command takes: integers go through `num`, and those that many jobs share only once.
-- 5. A table is made with all its fields at once: one that grows is allocated again at each power of two, which takes
--    longer than all else here. So fields are read by their position in the lists of names.
-- 6. Records are read once, and written at the end of the call (`records`): in between the call sees its own changes.
-- 7. What a call adds to sorted sets, or to and from sets, is gathered by key: one command with many members costs a
--    fifth less each.

-- The keys, all behind the prefix `{<namespace>}:`, so that they are in one slot of a cluster:
--
--   meta                    secret, format, run, born, server; `n`, `b`: counts of the store, and its bounds
--   queues, q:<queue>       names; policy, pause; `n`, `p`: counts, and the policy with the pause; `last`: a turn (`fair`)
--   a:<queue>               sublists of which a job may start now, by their first job's score
--   r:<queue>:<sublist>     ready jobs by score
--   o:<generation>:…        sublists that are to be sorted in again
--   resort, og              their names; their generations, with how many are left
--   types, g:<type>         names; limits, permits held, quarantine
--   ga:, go:, gn:<queue>:…  of a type: its groups with a ready job; those of which one may start; how many are ready
--   fr:, fn:<queue>:…       of a fair queue: groups by their turn; how many jobs are ready by type
--   gg:<type>\0…, tg        the state of a group; groups by the instant that changes it
--   tq:<type>, qt:<queue>   queues with a sublist of the type, and types with one of the queue
--   t, shut, failing        types by the instant that opens them; those in quarantine; those that failed last
--   d, s, e, pz             delayed jobs, start-bys, terminal records, pauses by the instant that is due
--   i, f                    all records, and failed ones, by place
--   j:, ks:<id>             the record; further keys
--   arg:, res:, his:<id>    long arguments; a long result; history
--   k, u                    idempotency keys, unique values
--   c, cr, ce:<caller>      what callers hold; by number of records; a caller's terminal records by their end
--   procs, dying, idle      processes by the instant until which they are alive; those to be reaped; those without work
--   lost                    processes that were lost, the latest first
--   p:, y:, l:, stop:<proc> the process; types it has handlers for; jobs it runs; stops to be delivered
--   op:<token>              the reply of an operator's call, for a minute
--   db:<queue>:<value>      the latest submissions that have debounced a job by a unique value, for a minute
--   ev, ev:on               events; whether a server reads them

local JOBS_MAX = 64
local STEPS_MAX = 100
-- Arguments of a command, at most: Lua's stack has room for some 8,000 values.
local PORTION = 1000

local SMALL = { ['0'] = 0, ['1'] = 1, ['2'] = 2, ['3'] = 3, ['4'] = 4, ['5'] = 5 }

local unit = {}

-- An integer as text, with all its digits. As a float it would take three times as long.
local function num(value)
  return string.format('%d', value)
end

local BOUNDS = {
  'jobs_max', 'failed_max', 'bytes_max', 'ttl_ms', 'failed_ttl_ms', 'ev_until', 'ev_maxlen', 'grace_until',
}
local QUEUE_POLICY = { 'capacity', 'workers', 'aging_ms', 'retry_budget', 'paused_at', 'pause_until', 'discipline' }

local CALLER_COUNTS = { 'live', 'live_bytes', 'records', 'bytes' }

-- Several lists as one. Called while the library is loaded, when no function of Lua's own exists.
local function joined(...)
  local lists, all = { ... }, {}
  for list = 1, #lists do
    for index = 1, #lists[list] do
      all[#all + 1] = lists[list][index]
    end
  end
  return all
end

-- How numbers are packed.
local PACKED = {
  counts = '<dddddddddd', bounds = '<dddddddd', queue = '<dddddddd', policy = '<ddddddB', caller = '<dddd',
}
local ORDERS = { 'fifo', 'lifo', 'priority', 'fair' }

function unit.begin(keys)
  local us = clock.us(keys[1])
  return {
    prefix = keys[1],
    us = us,
    now = math.floor(us / 1000),
    queues = {},
    callers = {},
    types = {},
    unfailing = {},
    specs = {},
    claims = {},
    kinds = {},
    keys = {},
    records = {},
    changed = {},
    texts = {},
    kept = {},
    adds = {},
    joins = {},
    leaves = {},
    sublists = {},
    gates = {},
    groups = nil,
    lines = nil,
    readied = 0,
  }
end

-- That of a call that changes nothing.
function unit.reading(keys)
  local us = clock.us(keys[1])
  return { prefix = keys[1], us = us, now = math.floor(us / 1000), keys = {}, texts = {}, records = {}, kinds = {},
    specs = {}, claims = {} }
end

-- A key by its name; each is joined once in a call.
function unit.key(u, name)
  local key = u.keys[name]
  if not key then
    key = u.prefix .. name
    u.keys[name] = key
  end
  return key
end

-- The counts and bounds of the whole store; until `set_bounds` says otherwise, the defaults of the settings.
function unit.store(u)
  if not u.store then
    local values = redis.call('HMGET', u.prefix .. 'meta', 'n', 'b')
    local accepted, evicted, evicted_early, deleted, live, terminal, live_bytes, bytes, place, cfg =
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    local jobs_max, failed_max, bytes_max, ttl_ms, failed_ttl_ms, ev_until, ev_maxlen, grace_until =
      1000000, 10000, 268435456, 600000, 3600000, 0, 10000, 0
    if values[1] then
      accepted, evicted, evicted_early, deleted, live, terminal, live_bytes, bytes, place, cfg =
        struct.unpack(PACKED.counts, values[1])
    end
    if values[2] then
      jobs_max, failed_max, bytes_max, ttl_ms, failed_ttl_ms, ev_until, ev_maxlen, grace_until =
        struct.unpack(PACKED.bounds, values[2])
    end
    u.store = {
      packed = values[1],
      accepted = accepted,
      evicted = evicted,
      evicted_early = evicted_early,
      deleted = deleted,
      live = live,
      terminal = terminal,
      live_bytes = live_bytes,
      bytes = bytes,
      place = place,
      cfg = cfg,
      jobs_max = jobs_max,
      failed_max = failed_max,
      bytes_max = bytes_max,
      ttl_ms = ttl_ms,
      failed_ttl_ms = failed_ttl_ms,
      ev_until = ev_until,
      ev_maxlen = ev_maxlen,
      grace_until = grace_until,
    }
  end
  return u.store
end

-- Writes the bounds, after a change.
function unit.write_bounds(u)
  local store = unit.store(u)
  redis.call('HSET', u.prefix .. 'meta', 'b', struct.pack(PACKED.bounds, store.jobs_max, store.failed_max,
    store.bytes_max, store.ttl_ms, store.failed_ttl_ms, store.ev_until, store.ev_maxlen, store.grace_until))
end

-- A place for a new record: of a size that a double holds until the year 2109, distinct, in order, and near the
-- instant of the submission.
function unit.next_place(u)
  return math.max(unit.store(u).place + 1, u.now * 2048)
end

local function write_store(u, store)
  local packed = struct.pack(PACKED.counts, store.accepted, store.evicted, store.evicted_early, store.deleted,
    store.live, store.terminal, store.live_bytes, store.bytes, store.place, store.cfg)
  if packed ~= store.packed then
    redis.call('HSET', u.prefix .. 'meta', 'n', packed)
    store.packed = packed
  end
end

-- A queue with its counts and its policy; `known` is false for one that was never set, and for one whose key holds a
-- value of another program, which is left alone: no call may fail for the other queues because of it.
function unit.queue(u, name)
  local queue = u.queues[name]
  if not queue then
    local values = redis.pcall('HMGET', u.prefix .. 'q:' .. name, 'n', 'p')
    local delayed, queued, running, seq, ended, started, run_ms, runs = 0, 0, 0, 0, 0, 0, 0, 0
    local capacity, workers, aging_ms, retry_budget, paused_at, pause_until, order = 0, 0, -1, 0, -1, -1, 1
    if values[1] then
      delayed, queued, running, seq, ended, started, run_ms, runs = struct.unpack(PACKED.queue, values[1])
    end
    if values[2] then
      capacity, workers, aging_ms, retry_budget, paused_at, pause_until, order = struct.unpack(PACKED.policy, values[2])
    end
    queue = {
      name = name,
      kinds = {},
      packed = values[1],
      delayed = delayed,
      queued = queued,
      running = running,
      seq = seq,
      ended = ended,
      started = started,
      run_ms = run_ms,
      runs = runs,
      capacity = capacity,
      workers = workers,
      aging_ms = aging_ms,
      retry_budget = retry_budget,
      paused_at = paused_at,
      pause_until = pause_until,
      discipline = ORDERS[order],
      known = values[2] and true or false,
      overwritten = values.err and true or false,
    }
    u.queues[name] = queue
  end
  return queue
end

-- Packs the policy of a queue, and its pause, after a change of either.
function unit.pack_policy(u, name)
  local key = u.prefix .. 'q:' .. name
  local values, order = redis.call('HMGET', key, unpack(QUEUE_POLICY)), 1
  for index = 1, #ORDERS do
    order = values[7] == ORDERS[index] and index or order
  end
  redis.call('HSET', key, 'p', struct.pack(PACKED.policy, tonumber(values[1]), tonumber(values[2]), tonumber(values[3]),
    tonumber(values[4]), tonumber(values[5]) or -1, tonumber(values[6]) or -1, order))
end

local function write_queue(u, queue)
  if queue.overwritten then
    return
  end
  local packed = struct.pack(PACKED.queue, queue.delayed, queue.queued, queue.running, queue.seq, queue.ended,
    queue.started, queue.run_ms, queue.runs)
  if packed ~= queue.packed then
    redis.call('HSET', u.prefix .. 'q:' .. queue.name, 'n', packed)
    queue.packed = packed
  end
end

function unit.live(queue)
  return queue.delayed + queue.queued + queue.running
end

-- What a caller holds; '' is the application itself.
function unit.caller(u, name)
  local caller = u.callers[name]
  if not caller then
    local text, live, live_bytes, records_held, bytes = redis.call('HGET', u.prefix .. 'c', name), 0, 0, 0, 0
    if text then
      live, live_bytes, records_held, bytes = struct.unpack(PACKED.caller, text)
    end
    caller = {
      name = name,
      live = live,
      live_bytes = live_bytes,
      records = records_held,
      bytes = bytes,
      changed = false,
      records_were = records_held,
      ended = u.prefix .. 'ce:' .. name,
    }
    u.callers[name] = caller
  end
  return caller
end

-- What is to be added to a sorted set: scores, as texts, and members.
function unit.adding(u, key)
  local pending = u.adds[key]
  if not pending then
    pending = {}
    u.adds[key] = pending
  end
  return pending
end

function unit.add(u, key, score, member)
  local pending = unit.adding(u, key)
  local count = #pending
  pending[count + 1], pending[count + 2] = num(score), member
end

-- Adds to a sorted set. Where another program has overwritten its key, all else is written first, and the call fails at
-- the end of `finish`: jobs of other queues would be lost with it.
function unit.add_now(u, key, ...)
  local reply = redis.pcall('ZADD', key, ...)
  if type(reply) == 'table' and reply.err then
    u.failed = u.failed or reply.err
  end
end

local function write_adds(u, key)
  local pending = u.adds[key]
  if pending then
    u.adds[key] = nil
    for first = 1, #pending, PORTION do
      unit.add_now(u, key, unpack(pending, first, math.min(#pending, first + PORTION - 1)))
    end
  end
end

-- The key of a sorted set, with all that was added to it: to be read, or removed from.
function unit.written(u, key)
  write_adds(u, key)
  return key
end

function unit.remove(u, key, member)
  return redis.call('ZREM', unit.written(u, key), member)
end

local function gathered(lists, key)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  return list
end

local function write_members(lists, command, key)
  local list = lists[key]
  if list then
    lists[key] = nil
    if #list > 0 then
      redis.call(command, key, unpack(list))
    end
  end
end

-- What is to be added to the set of what a process runs. A call moves some hundred jobs at most.
function unit.joining(u, key)
  write_members(u.leaves, 'SREM', key)
  return gathered(u.joins, key)
end

function unit.join(u, key, member)
  local list = unit.joining(u, key)
  list[#list + 1] = member
end

-- What is to be removed from it.
function unit.leaving(u, key)
  write_members(u.joins, 'SADD', key)
  return gathered(u.leaves, key)
end

function unit.leave(u, key, member)
  local list = unit.leaving(u, key)
  list[#list + 1] = member
end

-- The key of a set, with all that was added and removed.
function unit.settled(u, key)
  write_members(u.leaves, 'SREM', key)
  write_members(u.joins, 'SADD', key)
  return key
end

local function write_caller(u, caller)
  if caller.records <= 0 then
    redis.call('HDEL', u.prefix .. 'c', caller.name)
    redis.call('ZREM', u.prefix .. 'cr', caller.name)
    return
  end
  local text = struct.pack(PACKED.caller, caller.live, caller.live_bytes, caller.records, caller.bytes)
  redis.call('HSET', u.prefix .. 'c', caller.name, text)
  if caller.records ~= caller.records_were then
    redis.call('ZADD', u.prefix .. 'cr', num(caller.records), caller.name)
  end
end

-- A string of the store: as this call leaves it, if it has changed it.
function unit.text(u, key)
  local text = u.texts[key]
  if text == nil then
    text = redis.call('GET', key)
  end
  return text
end

-- Writes the records that were changed, and the other strings; false: one that is to be deleted.
local function write_texts(u)
  records.settle(u)
  local kept, gone, count = u.kept, {}, #u.kept
  for key, text in pairs(u.texts) do
    if text then
      kept[count + 1], kept[count + 2] = key, text
      count = count + 2
    else
      gone[#gone + 1] = key
    end
  end
  for first = 1, count, PORTION do
    redis.call('MSET', unpack(kept, first, math.min(count, first + PORTION - 1)))
  end
  for first = 1, #gone, PORTION do
    redis.call('DEL', unpack(gone, first, math.min(#gone, first + PORTION - 1)))
  end
end

-- Ends a call: writes what was gathered.
function unit.finish(u)
  write_texts(u)
  for key in pairs(u.adds) do
    write_adds(u, key)
  end
  for key in pairs(u.joins) do
    write_members(u.joins, 'SADD', key)
  end
  for key in pairs(u.leaves) do
    write_members(u.leaves, 'SREM', key)
  end
  sublists.settle(u)
  for _, gate in pairs(u.types) do
    limits.write(u, gate)
  end
  groups.write(u)
  for _, queue in pairs(u.queues) do
    write_queue(u, queue)
  end
  for _, caller in pairs(u.callers) do
    if caller.changed then
      write_caller(u, caller)
    end
  end
  if u.store then
    write_store(u, u.store)
  end
  if u.readied > 0 then
    processes.wake(u, u.readied)
  end
  if u.failed then
    error({ err = u.failed })
  end
end

-- The number in an argument; most have one digit, for which a table takes a tenth of the time.
function unit.small(text)
  return SMALL[text] or tonumber(text)
end

-- The number in an argument; `least` and `most` bound it. Arguments are checked before the first change.
function unit.number(text, name, least, most)
  local value = unit.small(text)
  if not value or value < least or value > most or value ~= math.floor(value) then
    error({ err = 'ERR jobqueue: ' .. name .. ' must be an integer from ' .. num(least) .. ' to ' .. num(most)
      .. ', got ' .. tostring(text) })
  end
  return value
end

-- The number of items in a call, whose arguments, `width` for each, begin at `first`.
function unit.items(args, at, width, most)
  local count = unit.number(args[at], 'the number of items', 0, most)
  if #args ~= at + count * width then
    error({ err = 'ERR jobqueue: ' .. num(count) .. ' items have ' .. num(count * width) .. ' arguments, got '
      .. num(#args - at) })
  end
  return count
end
