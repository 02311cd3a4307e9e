-- Uniqueness: idempotency keys (`k`) and unique values (`u`), each a hash of names to the job that has them.
--
-- Rules:
--
-- 1. An entry counts only while its record is held, and, of a value, live: one that outlived its job is taken over.
-- 2. A key belongs to one caller and one job; further keys that led to a job by its value belong to it, too, its
--    latest hundred.
-- 3. `db:<queue>:<value>` has, for a minute, the latest submission of each process that has debounced a job by a value,
--    with that job: of the eight processes that did so last. Ids of one process (their first three characters) are in
--    the order of issue, so that one that is not later was sent again, or was overtaken: newer arguments have come. An
--    entry goes with the record of its job.

local uniqueness = {}

local SHARED_MAX = 100
local DEBOUNCERS_MAX = 8
local DEBOUNCED_MS = 60000
local RUN_LENGTH = 3

-- The id and the fingerprint under a key, if the record is held.
function uniqueness.under_key(u, name)
  local entry = redis.call('HGET', u.prefix .. 'k', name)
  if not entry then
    return nil
  end
  local id, fingerprint = string.match(entry, '^([^%z]+)%z(.*)$')
  if not records.get(u, id) then
    return nil
  end
  return id, fingerprint
end

function uniqueness.holder(u, spec, claims)
  local id = redis.call('HGET', u.prefix .. 'u', specs.value_name(spec, claims))
  local job = id and records.get(u, id)
  if job and records.is_live(job.s) then
    return job
  end
  return nil
end

local function enter_key(u, id, claims)
  redis.call('HSET', u.prefix .. 'k', specs.key_name(claims), id .. '\0' .. (claims.fingerprint or ''))
end

-- Enters a job that becomes live; a unique value passes to it.
function uniqueness.stake(u, id, spec, claims)
  if claims.key then
    enter_key(u, id, claims)
  end
  if claims.value then
    redis.call('HSET', u.prefix .. 'u', specs.value_name(spec, claims), id)
  end
end

-- Adds a submission's key to an existing job. Returns the length of an earlier key that was dropped for it, or nil.
function uniqueness.share(u, job, claims)
  local key = u.prefix .. 'ks:' .. job.id
  enter_key(u, job.id, claims)
  job.K = true
  if redis.call('RPUSH', key, specs.key_name(claims)) > SHARED_MAX then
    local name = redis.call('LPOP', key)
    uniqueness.drop_key(u, name, job.id)
    return #string.match(name, '%z(.*)$')
  end
end

function uniqueness.drop_key(u, name, id)
  local entry = redis.call('HGET', u.prefix .. 'k', name)
  if entry and string.sub(entry, 1, #id + 1) == id .. '\0' then
    redis.call('HDEL', u.prefix .. 'k', name)
  end
end

-- Removes the entry that only a live job may have; it may have passed to another one.
function uniqueness.release(u, job)
  local claims = job.kind.claims
  if claims.value then
    local name = specs.value_name(job.kind.spec, claims)
    if redis.call('HGET', u.prefix .. 'u', name) == job.id then
      redis.call('HDEL', u.prefix .. 'u', name)
    end
  end
end

local function debounced_key(u, queue_name, spec, claims)
  return u.prefix .. 'db:' .. queue_name .. ':' .. specs.value_name(spec, claims)
end

-- The latest submissions that have debounced a job: id, job, id, job …
local function debouncers(key)
  local text = redis.call('GET', key)
  return text and cmsgpack.unpack(text) or {}
end

-- Without those that `drops` returns true for, given the submission and the job. Returns how many it has dropped, too.
local function without(entries, drops)
  local kept = {}
  for index = 1, #entries, 2 do
    if not drops(entries[index], entries[index + 1]) then
      kept[#kept + 1], kept[#kept + 2] = entries[index], entries[index + 1]
    end
  end
  return kept, (#entries - #kept) / 2
end

local function is_of_run(id, other)
  return string.sub(id, 1, RUN_LENGTH) == string.sub(other, 1, RUN_LENGTH)
end

-- Lua's own comparison depends on the locale of the store.
local function is_later(id, other)
  for index = 1, #id do
    local a, b = string.byte(id, index), string.byte(other, index) or 0
    if a ~= b then
      return a > b
    end
  end
  return false
end

-- The job that a submission has debounced before, if its record is held.
function uniqueness.debounced(u, queue, id, spec, claims)
  local entries = debouncers(debounced_key(u, queue.name, spec, claims))
  for index = 1, #entries, 2 do
    if is_of_run(entries[index], id) and not is_later(id, entries[index]) then
      return records.get(u, entries[index + 1])
    end
  end
  return nil
end

function uniqueness.note_debounced(u, queue, id, spec, claims, job)
  local key = debounced_key(u, queue.name, spec, claims)
  local entries = without(debouncers(key), function(other) return is_of_run(other, id) end)
  if #entries == 2 * DEBOUNCERS_MAX then
    local first = entries[1]
    entries = without(entries, function(other) return other == first end)
  end
  entries[#entries + 1], entries[#entries + 2] = id, job.id
  redis.call('SET', key, cmsgpack.pack(entries), 'PX', DEBOUNCED_MS)
end

-- Forgets the submissions that have debounced a job.
local function forget_debounced(u, job, claims)
  local key = debounced_key(u, job.kind.q, job.kind.spec, claims)
  local entries, dropped = without(debouncers(key), function(_, job_id) return job_id == job.id end)
  if #entries == 0 then
    redis.call('DEL', key)
  elseif dropped > 0 then
    redis.call('SET', key, cmsgpack.pack(entries), 'KEEPTTL')
  end
end

-- Removes the keys, with the record.
function uniqueness.forget(u, job, claims)
  if claims.value then
    forget_debounced(u, job, claims)
  end
  if claims.key then
    uniqueness.drop_key(u, specs.key_name(claims), job.id)
  end
  if job.K then
    local key = u.prefix .. 'ks:' .. job.id
    for _, name in ipairs(redis.call('LRANGE', key, 0, SHARED_MAX)) do
      uniqueness.drop_key(u, name, job.id)
    end
    redis.call('DEL', key)
  end
end
