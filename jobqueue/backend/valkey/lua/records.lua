-- Records: a job as the store holds it, and what it counts for.
--
-- A record is one string, `j:<id>`, so that a call reads all records that it needs by one command, and writes all that
-- it has changed by one at its end. Numbers of a fixed size come first, and the lengths of the texts behind them:
--
--   s l        state; whether it holds a permit of its type
--   h x y      attempts in its history; bytes of its arguments, and of its result
--   v a z      version; attempt; bytes that count for the store's bounds
--   t o f      start_by, started, finished
--   w st A R   the process that runs it, or ran it last; why it is stopping; arguments, result
--   kind       its queue, spec and claims (`specs`)
--
-- Then comes the rest, which a life without incidents only carries on:
--
--   K n        whether it has further keys; attempts of earlier series
--   k rc       the attempt that gave the last verdict; the one after an attempt that was lost with its process
--   i c d      place in lists, created, run_at
--   r sq       ready since, number among the ready ones
--   b P E      sublist, progress, error
--
-- Arguments and results of more than 64 bytes are strings of their own, as is the history.

local records = {}

local INLINE_BYTES = 64
local HISTORY_MAX = 10
local ATTEMPT_BYTES = 150
local EVICTIONS_MAX = 10

-- `layout.py` has the same.
local HEAD = '<c1BI4I4i4I4I4ddddI2I2I2I2I4'
local HEAD_BYTES = 66
local REST = '<BI4i4I4dddddI2I4I4'
local TERMINAL = { s = true, f = true, c = true, x = true }

function records.is_live(state)
  return not TERMINAL[state]
end

function records.key(u, id)
  return u.prefix .. 'j:' .. id
end

-- The record in a text, without its rest. Fields that most records lack are set only where they are there, so that
-- the table is half the size.
local function read(u, id, text)
  local s, l, h, x, y, v, a, z, t, o, f, w_len, st_len, A_len, R_len, kind_len, at = struct.unpack(HEAD, text)
  local sub, st_at = string.sub, at + w_len
  local A_at = st_at + st_len
  local R_at = A_at + A_len
  local kind_at = R_at + R_len
  local job = {
    id = id, s = s, h = h, x = x, y = y, v = v, a = a, z = z,
    o = o >= 0 and o or nil,
    w = sub(text, at, st_at - 1),
    A = sub(text, A_at, R_at - 1),
    kind = specs.kind(u, sub(text, kind_at, kind_at + kind_len - 1)),
    rest = sub(text, kind_at + kind_len),
  }
  if t >= 0 then job.t = t end
  if f >= 0 then job.f = f end
  if l == 1 then job.l = true end
  if st_len > 0 then job.st = sub(text, st_at, A_at - 1) end
  if R_len > 0 then job.R = sub(text, R_at, kind_at - 1) end
  return job
end

-- Adds the rest to a record. Returns it.
function records.whole(job)
  local text = job.rest
  if text then
    local sub, at, r, sq, b_len, P_len, E_len = string.sub
    job.K, job.n, job.k, job.rc, job.i, job.c, job.d, r, sq, b_len, P_len, E_len, at = struct.unpack(REST, text)
    job.K = job.K == 1
    job.r, job.sq = r >= 0 and r or nil, sq >= 0 and sq or nil
    job.b = sub(text, at, at + b_len - 1)
    job.P = sub(text, at + b_len, at + b_len + P_len - 1)
    job.E = sub(text, at + b_len + P_len)
    job.rest = nil
  end
  return job
end

function records.rest(job)
  local b, P, E = job.b, job.P, job.E
  return struct.pack(REST, job.K and 1 or 0, job.n, job.k, job.rc, job.i, job.c, job.d, job.r or -1, job.sq or -1,
    #b, #P, #E) .. b .. P .. E
end

-- A record as a text.
function records.text(job)
  local w, st, A, R, kind, rest = job.w, job.st or '', job.A, job.R or '', job.kind.text, job.rest or records.rest(job)
  return struct.pack(HEAD, job.s, job.l and 1 or 0, job.h, job.x, job.y, job.v, job.a, job.z, job.t or -1, job.o or -1,
    job.f or -1, #w, #st, #A, #R, #kind) .. w .. st .. A .. R .. kind .. rest
end

function records.read(u, id, text)
  return records.whole(read(u, id, text))
end

-- The texts of some records; false: there is none.
function records.texts(u, ids, first, last)
  local keys, prefix = {}, unit.key(u, 'j:')
  for index = first, last do
    keys[index - first + 1] = prefix .. ids[index]
  end
  return first <= last and redis.call('MGET', unpack(keys)) or {}
end

-- Reads records, a hundred at most, by one command, so that `get` has them.
function records.fetch(u, ids)
  local texts = records.texts(u, ids, 1, #ids)
  for index = 1, #ids do
    if u.records[ids[index]] == nil then
      u.records[ids[index]] = texts[index]
    end
  end
end

-- The record without its rest, or nil: for what has no need of it.
function records.brief(u, id)
  local job = u.records[id]
  if job == nil then
    job = redis.call('GET', records.key(u, id))
  end
  if type(job) == 'string' then -- it was not read yet
    job = read(u, id, job)
  end
  u.records[id] = job
  return job or nil
end

-- The record, or nil. One that is changed is to be given to `write`.
function records.get(u, id)
  local job = records.brief(u, id)
  return job and records.whole(job)
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

-- Has a record written at the end of the call.
function records.write(u, job)
  u.changed[job.id] = job
end

-- Has a record written that is not changed any more in this call. Returns it as a text.
function records.write_text(u, job)
  local text = records.text(job)
  u.changed[job.id], u.texts[records.key(u, job.id)] = nil, text
  return text
end

-- The records that were changed become texts.
function records.settle(u)
  for id, job in pairs(u.changed) do
    u.texts[records.key(u, id)] = records.text(job)
  end
  u.changed = {}
end

-- The arguments that a live or failed job has.
function records.args(u, job)
  if job.x > INLINE_BYTES and (job.s == 'f' or not TERMINAL[job.s]) then
    return unit.text(u, u.prefix .. 'arg:' .. job.id) or ''
  end
  return job.A
end

function records.result(u, job)
  if job.y > INLINE_BYTES then
    return unit.text(u, u.prefix .. 'res:' .. job.id) or ''
  end
  return job.R or ''
end

function records.history(u, job)
  return job.h > 0 and unit.text(u, u.prefix .. 'his:' .. job.id) or ''
end

-- A whole record as a reply has it: its text, or where more belongs to it, a list of the text, its position among the
-- ready ones, arguments, result and history.
function records.told(u, job, text, position)
  if position < 0 and job.h == 0 and job.x <= INLINE_BYTES and job.y <= INLINE_BYTES then
    return text
  end
  return { text, position, records.args(u, job), records.result(u, job), records.history(u, job) }
end

-- Keeps a text in the record if it is short, else beside it.
function records.keep(u, job, field, kind, value)
  if #value > INLINE_BYTES then
    u.texts[u.prefix .. kind .. job.id] = value
    job[field] = ''
  else
    job[field] = value
  end
end

-- Removes the arguments.
function records.drop_args(u, job)
  if job.x > INLINE_BYTES then
    u.texts[u.prefix .. 'arg:' .. job.id] = false
  end
  job.A = ''
end

-- Counts a record's growth; live ones only.
function records.grow(u, job, more)
  if more == 0 then
    return
  end
  local store, caller = unit.store(u), unit.caller(u, job.kind.caller)
  store.live_bytes, store.bytes = store.live_bytes + more, store.bytes + more
  caller.live_bytes, caller.bytes, caller.changed = caller.live_bytes + more, caller.bytes + more, true
  job.z = job.z + more
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
  local store, caller_name = unit.store(u), job.kind.caller
  local caller = unit.caller(u, caller_name)
  store.live, store.terminal = store.live - 1, store.terminal + 1
  store.live_bytes, store.bytes = store.live_bytes - job.z, store.bytes + size - job.z
  caller.live, caller.live_bytes, caller.changed = caller.live - 1, caller.live_bytes - job.z, true
  caller.bytes = caller.bytes + size - job.z
  job.z = size
  local ttl = job.kind.spec.ttl_ms or (job.s == 'f' and store.failed_ttl_ms or store.ttl_ms)
  unit.add(u, unit.key(u, 'e'), u.now + ttl, job.id)
  unit.add(u, caller.ended, u.now, job.id)
  if job.s == 'f' then
    u.any_failed = true
    unit.add(u, u.prefix .. 'f', job.i, job.id)
  end
end

-- Takes a failed record out of the terminal ones again.
function records.revive(u, job)
  local store, caller_name = unit.store(u), job.kind.caller
  local caller = unit.caller(u, caller_name)
  store.live, store.terminal, store.live_bytes = store.live + 1, store.terminal - 1, store.live_bytes + job.z
  caller.live, caller.live_bytes, caller.changed = caller.live + 1, caller.live_bytes + job.z, true
  unit.remove(u, u.prefix .. 'e', job.id)
  unit.remove(u, u.prefix .. 'f', job.id)
  unit.remove(u, u.prefix .. 'ce:' .. caller_name, job.id)
end

-- Removes a terminal record with all that leads to it.
function records.evict(u, job)
  local store, prefix, caller_name = unit.store(u), u.prefix, job.kind.caller
  local caller = unit.caller(u, caller_name)
  uniqueness.forget(u, job, job.kind.claims)
  unit.remove(u, prefix .. 'i', job.id)
  unit.remove(u, prefix .. 'e', job.id)
  unit.remove(u, prefix .. 'ce:' .. caller_name, job.id)
  if job.s == 'f' then
    unit.remove(u, prefix .. 'f', job.id)
  end
  records.drop_args(u, job)
  u.texts[records.key(u, job.id)] = false
  if job.y > INLINE_BYTES then
    u.texts[prefix .. 'res:' .. job.id] = false
  end
  if job.h > 0 then
    u.texts[prefix .. 'his:' .. job.id] = false
  end
  u.records[job.id], u.changed[job.id] = false, nil
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
  local history = records.history(u, job)
  local length, more = job.h + 1, ATTEMPT_BYTES + #message + #traceback
  if length > HISTORY_MAX then
    local size = struct.unpack('>I4', history)
    local first = cmsgpack.unpack(string.sub(history, 5, 4 + size))
    more = more - ATTEMPT_BYTES - #first[5] - #(first[6] or '')
    history, length = string.sub(history, size + 5), HISTORY_MAX
  end
  local kept = history .. frame
  local store, claims = unit.store(u), job.kind.claims
  local caller = unit.caller(u, claims.caller or '')
  local fits = store.live_bytes + more <= store.bytes_max
    and not (claims.bytes_max and caller.live_bytes + more > claims.bytes_max)
  if fits then
    records.make_room(u, claims, claims.caller or '', 0, more)
    u.texts[u.prefix .. 'his:' .. job.id] = kept
    job.h = length
    records.grow(u, job, more)
  end
end
