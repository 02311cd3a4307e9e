-- Records: a job as the store holds it, and what it counts for.
--
-- A record is the hash `j:<id>`; arguments and results of more than 64 bytes are strings of their own, since a hash
-- with one long value takes twice the memory. Its fields:
--
--   s v a n    state, version, attempt, attempts of earlier series
--   q b sq i   queue, sublist, number among the ready ones, place in lists
--   c d t r    created, run_at, start_by, ready since
--   o f w      started, finished, the process that runs it, or ran it last
--   l st k rc  it holds a permit of its type; why it is stopping; the attempt that gave the last verdict; the one after
--              an attempt that was lost with its process
--   S C        spec, claims
--   A x R      arguments, their bytes, result
--   z          bytes that count for the store's bounds
--   P E H h    progress, error, history and its length
--   K          it has further keys

local records = {}

local INLINE_BYTES = 64
local HISTORY_MAX = 10
local ATTEMPT_BYTES = 150
local EVICTIONS_MAX = 10

local TERMINAL = { s = true, f = true, c = true, x = true }

-- Those that a success needs come first, and those that any verdict needs: a field costs a fifth of a microsecond.
local SUCCESS_FIELDS = { 's', 'a', 'w', 'q', 'S', 'C', 'v', 'x', 'z', 'o', 'l', 'st' }
local RUNNING_FIELDS = joined(SUCCESS_FIELDS, { 'i', 'n', 'h' })
local REST_FIELDS = { 'b', 'K', 'rc', 'c', 't', 'r', 'sq' }
local ALL_FIELDS = joined(RUNNING_FIELDS, REST_FIELDS)

function records.is_live(state)
  return not TERMINAL[state]
end

function records.key(u, id)
  return u.prefix .. 'j:' .. id
end

-- A text that is there. An empty one is a field that was there, and is no more.
local function some(value)
  return value and value ~= '' and value or nil
end

local function from_values(id, values)
  return {
    id = id,
    s = values[1],
    a = tonumber(values[2]),
    w = some(values[3]),
    q = values[4],
    S = values[5],
    C = values[6] or '',
    v = tonumber(values[7]),
    x = tonumber(values[8]),
    z = tonumber(values[9]),
    o = tonumber(values[10]),
    l = some(values[11]),
    st = some(values[12]),
    i = tonumber(values[13]),
    n = tonumber(values[14]) or 0,
    h = tonumber(values[15]) or 0,
    -- Of a size that most changes need (`unit`, rule 5).
    set = {
      nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
    },
    set_count = 0,
    b = nil, K = nil, rc = nil, c = nil, t = nil, r = nil, sq = nil, f = nil, d = nil, k = nil, y = nil,
  }
end

local function fill_rest(job, values, at)
  job.b, job.K, job.rc = some(values[at + 1]), some(values[at + 2]), some(values[at + 3])
  job.c, job.t = tonumber(values[at + 4]), tonumber(values[at + 5])
  job.r, job.sq = tonumber(values[at + 6]), tonumber(values[at + 7])
end

-- The record, or nil. Changes are gathered in it, and written by `records.write`.
function records.get(u, id)
  local values = redis.call('HMGET', records.key(u, id), unpack(ALL_FIELDS))
  if not values[1] then
    return nil
  end
  local job = from_values(id, values)
  fill_rest(job, values, #RUNNING_FIELDS)
  return job
end

-- The record, if this process runs it. Another entry in its list, of a call that failed midway, is forgotten: it would
-- stop all that deals with the list.
function records.get_run_by(u, process, id)
  local job = records.get(u, id)
  if job and job.s == 'r' and job.w == process then
    return job
  end
  unit.leave(u, u.prefix .. 'l:' .. process, id)
  return nil
end

-- As `get`, with the fields that the end of an attempt needs; `records.rest` reads the others.
function records.get_running(u, id, succeeded)
  local values = redis.call('HMGET', records.key(u, id), unpack(succeeded and SUCCESS_FIELDS or RUNNING_FIELDS))
  return values[1] and from_values(id, values) or nil
end

function records.rest(u, job)
  fill_rest(job, redis.call('HMGET', records.key(u, job.id), unpack(REST_FIELDS)), 0)
end

local function gather(job, field, value)
  local set, at = job.set, job.set_count
  set[at + 1], set[at + 2] = field, value
  job.set_count = at + 2
end

function records.set(job, field, value)
  job[field] = value
  gather(job, field, value)
end

-- Empties a field. It stays in the hash: to remove it would be a command more.
function records.clear(job, field)
  job[field] = nil
  gather(job, field, '')
end

function records.unset(job, field)
  if job[field] ~= nil then
    records.clear(job, field)
  end
end

function records.write(u, job)
  if job.set_count > 0 then
    redis.call('HSET', records.key(u, job.id), unpack(job.set, 1, job.set_count))
    job.set_count = 0
  end
end

function records.args(u, id, inline, bytes)
  if bytes and bytes > INLINE_BYTES then
    return redis.call('GET', u.prefix .. 'arg:' .. id) or ''
  end
  return inline or ''
end

-- Fields of a text that is kept in the hash if it is short, else beside it.
function records.keep(u, job, field, kind, value)
  if #value > INLINE_BYTES then
    redis.call('SET', u.prefix .. kind .. job.id, value)
    records.clear(job, field)
  else
    records.set(job, field, value)
  end
end

-- Counts a record's growth; live ones only.
function records.grow(u, job, more)
  if more == 0 then
    return
  end
  local store, caller = unit.store(u), unit.caller(u, specs.claims(u, job.C).caller or '')
  store.live_bytes, store.bytes = store.live_bytes + more, store.bytes + more
  caller.live_bytes, caller.bytes, caller.changed = caller.live_bytes + more, caller.bytes + more, true
  records.set(job, 'z', job.z + more)
end

function records.count_new(u, claims, size)
  local store, caller = unit.store(u), unit.caller(u, claims.caller or '')
  store.live, store.accepted = store.live + 1, store.accepted + 1
  store.live_bytes, store.bytes = store.live_bytes + size, store.bytes + size
  caller.live, caller.live_bytes, caller.changed = caller.live + 1, caller.live_bytes + size, true
  caller.records, caller.bytes = caller.records + 1, caller.bytes + size
end

-- Files a record that becomes terminal: `size` is what it counts for from here on.
function records.file(u, job, size)
  local store, claims = unit.store(u), specs.claims(u, job.C)
  local caller_name = claims.caller or ''
  local caller = unit.caller(u, caller_name)
  store.live, store.terminal = store.live - 1, store.terminal + 1
  store.live_bytes, store.bytes = store.live_bytes - job.z, store.bytes + size - job.z
  caller.live, caller.live_bytes, caller.changed = caller.live - 1, caller.live_bytes - job.z, true
  caller.bytes = caller.bytes + size - job.z
  records.set(job, 'z', size)
  local ttl = specs.spec(u, job.S).ttl_ms or (job.s == 'f' and store.failed_ttl_ms or store.ttl_ms)
  unit.add(u, u.prefix .. 'e', u.now + ttl, job.id)
  unit.add(u, u.prefix .. 'ce:' .. caller_name, u.now, job.id)
  if job.s == 'f' then
    u.any_failed = true
    unit.add(u, u.prefix .. 'f', job.i, job.id)
  end
end

-- Takes a failed record out of the terminal ones again.
function records.revive(u, job)
  local store, caller_name = unit.store(u), specs.claims(u, job.C).caller or ''
  local caller = unit.caller(u, caller_name)
  store.live, store.terminal, store.live_bytes = store.live + 1, store.terminal - 1, store.live_bytes + job.z
  caller.live, caller.live_bytes, caller.changed = caller.live + 1, caller.live_bytes + job.z, true
  unit.remove(u, u.prefix .. 'e', job.id)
  unit.remove(u, u.prefix .. 'f', job.id)
  unit.remove(u, u.prefix .. 'ce:' .. caller_name, job.id)
end

-- Removes a terminal record with all that leads to it.
function records.evict(u, job)
  local store, prefix, claims = unit.store(u), u.prefix, specs.claims(u, job.C)
  local caller_name = claims.caller or ''
  local caller = unit.caller(u, caller_name)
  uniqueness.forget(u, job, claims)
  unit.remove(u, prefix .. 'i', job.id)
  unit.remove(u, prefix .. 'e', job.id)
  unit.remove(u, prefix .. 'ce:' .. caller_name, job.id)
  if job.s == 'f' then
    unit.remove(u, prefix .. 'f', job.id)
  end
  redis.call('DEL', records.key(u, job.id), prefix .. 'arg:' .. job.id, prefix .. 'res:' .. job.id)
  store.terminal, store.bytes, store.evicted = store.terminal - 1, store.bytes - job.z, store.evicted + 1
  caller.records, caller.bytes, caller.changed = caller.records - 1, caller.bytes - job.z, true
  events.of_job(u, 'evicted', job)
end

local function evict_first(u, key)
  local first = redis.call('ZRANGE', unit.written(u, key), 0, 0)[1]
  if not first then
    return false
  end
  local job = records.get(u, first)
  if job and TERMINAL[job.s] then
    records.evict(u, job)
    unit.store(u).evicted_early = unit.store(u).evicted_early + 1
  else
    redis.call('ZREM', key, first) -- as in ticks: it would stop all that needs room
  end
  return true
end

local function evict_for_store(u)
  -- The caller with the most records loses its oldest one, so that one that floods the store doesn't empty it.
  local first = redis.call('ZREVRANGE', u.prefix .. 'cr', 0, 0)[1]
  return first and evict_first(u, u.prefix .. 'ce:' .. first) or evict_first(u, u.prefix .. 'e')
end

-- Evicts terminal records until this much more of a caller fits, in steps: ten a job, so that a call is bounded.
function records.make_room(u, claims, caller_name, more_jobs, more_bytes)
  local store, caller = unit.store(u), unit.caller(u, caller_name)
  local count = 0
  while count < EVICTIONS_MAX do
    local own = (claims.records_max and caller.records + more_jobs > claims.records_max)
      or (claims.bytes_max and caller.bytes + more_bytes > claims.bytes_max)
    local all = store.live + store.terminal + more_jobs > store.jobs_max or store.bytes + more_bytes > store.bytes_max
    if not (own and evict_first(u, u.prefix .. 'ce:' .. caller_name)) and not (all and evict_for_store(u)) then
      return count
    end
    count = count + 1
  end
  return count
end

-- Evicts failed records beyond their bound.
function records.bound_failed(u)
  local store = unit.store(u)
  local over = redis.call('ZCARD', unit.written(u, u.prefix .. 'f')) - store.failed_max
  for _ = 1, math.min(over, EVICTIONS_MAX) do
    evict_first(u, u.prefix .. 'f')
  end
end

-- Adds a failed attempt to the history, if the store has room for it.
function records.remember(u, job, code, message, traceback)
  local started = job.o or u.now
  local entry = cmsgpack.pack({ job.a, started, u.now, code, message, traceback ~= '' and traceback or nil })
  local frame = struct.pack('>I4', #entry) .. entry
  local history = job.h > 0 and redis.call('HGET', records.key(u, job.id), 'H') or ''
  local length, more = job.h + 1, ATTEMPT_BYTES + #message + #traceback
  if length > HISTORY_MAX then
    local size = struct.unpack('>I4', history)
    local first = cmsgpack.unpack(string.sub(history, 5, 4 + size))
    more = more - ATTEMPT_BYTES - #first[5] - #(first[6] or '')
    history, length = string.sub(history, size + 5), HISTORY_MAX
  end
  local kept = history .. frame
  local store, claims = unit.store(u), specs.claims(u, job.C)
  local caller = unit.caller(u, claims.caller or '')
  local fits = store.live_bytes + more <= store.bytes_max
    and not (claims.bytes_max and caller.live_bytes + more > claims.bytes_max)
  if fits then
    records.make_room(u, claims, claims.caller or '', 0, more)
    records.set(job, 'H', kept)
    records.set(job, 'h', length)
    records.grow(u, job, more)
  end
end
