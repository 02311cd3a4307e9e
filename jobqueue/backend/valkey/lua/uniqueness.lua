-- Uniqueness: idempotency keys (`k`) and unique values (`u`), each a hash of names to the job that has them.
--
-- Rules:
--
-- 1. An entry counts only while its record is held, and, of a value, live: one that outlived its job is taken over.
-- 2. A key belongs to one caller and one job; further keys that led to a job by its value belong to it, too, its
--    latest hundred.

local uniqueness = {}

local SHARED_MAX = 100

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

-- Removes the keys, with the record.
function uniqueness.forget(u, job, claims)
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
