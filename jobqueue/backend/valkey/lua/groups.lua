-- Groups: the ready jobs of types with limits per group, and the permits of each group.
--
-- Rules:
--
-- 1. A group is what an owner's jobs of one type and one group name are. Its ready jobs in a queue are a sublist of
--    their own, `<type>\0<owner>\0<name>`; `<owner>\0<name>` is its name among those of the type. Jobs of such a type
--    without a group wait as those of other types.
-- 2. `ga:<queue>:<type>` has all groups with a ready job, `go:` those of which one may start, both by the score of the
--    first job. The groups of a type that may start are one entry of the queue, called its bundle (`<type>\0`), with the
--    score of their first: so what opens or shuts the type moves one entry, however many groups there are.
-- 3. A group has a key, `gg:<type>\0<owner>\0<name>`, only while attempts run, or its bucket is not full.
-- 4. `tg` has groups by the instant at which time alone changes something: a token comes, or the bucket is full.
-- 5. A bucket that lacks more tokens than its rate has is that of a rate before, and counts as full. Other limits have
--    all groups of the type sorted in again, as another discipline has, since they may open any of them.

local groups = {}

local NO_BOUNDS = '0 0 0 0'

-- What a call knows of groups; most calls meet none.
local function known(u)
  if not u.groups then
    u.groups = { gates = {}, bounds = {}, touched = {}, bundles = {} }
  end
  return u.groups
end

-- The type and the name of a group, from its sublist; nil: it is none.
function groups.split(sublist)
  return string.match(sublist, '^([^%z\1]+)%z(.+)$')
end

-- The name of a group among all of its type.
function groups.name(owner, name)
  return (owner and '=' .. owner or '') .. '\0' .. name
end

function groups.sublist(type_name, owner, name)
  return type_name .. '\0' .. groups.name(owner, name)
end

function groups.bundle(type_name)
  return type_name .. '\0'
end

-- The type of a bundle; nil: it is none.
function groups.type_of(sublist)
  return string.match(sublist, '^([^%z\1]+)%z$')
end

local function key_of(u, kind, queue_name, type_name)
  return u.prefix .. kind .. queue_name .. ':' .. type_name
end

-- The key of all groups of a type with a ready job.
function groups.all_key(u, queue_name, type_name)
  return key_of(u, 'ga:', queue_name, type_name)
end

-- The sorted sets that have the turns of a type's groups in a fair queue.
function groups.turn_keys(u, queue_name, type_name)
  return { key_of(u, 'ga:', queue_name, type_name), key_of(u, 'go:', queue_name, type_name) }
end

-- The limits of each group of a type, as `set_types` was told them.
function groups.bounds(u, type_name)
  local all = known(u).bounds
  if not all[type_name] then
    local text = redis.call('HGET', u.prefix .. 'g:' .. type_name, 'of_groups') or NO_BOUNDS
    local concurrency, count, period_ms, burst = string.match(text, '^(%d+) (%d+) (%d+) (%d+)$')
    all[type_name] = {
      concurrency = tonumber(concurrency),
      rate_count = tonumber(count),
      rate_period_ms = tonumber(period_ms),
      burst = tonumber(burst),
    }
  end
  return all[type_name]
end

-- Limits of groups in the arguments of `set_types`, from `at` on, as text. Raises an error unless they are numbers.
function groups.packed_bounds(args, at)
  unit.number(args[at], 'group_concurrency', 0, 2 ^ 30)
  unit.number(args[at + 1], 'group_rate_count', 0, 2 ^ 30)
  unit.number(args[at + 2], 'group_rate_period_ms', 0, 2 ^ 40)
  unit.number(args[at + 3], 'group_burst', 0, 2 ^ 30)
  return table.concat(args, ' ', at, at + 3)
end

-- The state of a group, with the fields of a type's that `limits.room` reads.
function groups.gate(u, sublist)
  local gates = known(u).gates
  if not gates[sublist] then
    local type_name = groups.split(sublist)
    local bounds, text = groups.bounds(u, type_name), redis.call('GET', u.prefix .. 'gg:' .. sublist)
    local running, tat = 0, 0
    if text then
      running, tat = struct.unpack('<dd', text)
    end
    local gate = {
      type_name = type_name,
      concurrency = bounds.concurrency,
      rate_count = bounds.rate_count,
      rate_period_ms = bounds.rate_period_ms,
      burst = bounds.burst,
      running = running,
      running_was = running,
      tat = 0,
      ['until'] = -1,
      changed = false,
    }
    -- A microsecond more: sums of fractions may be a little too high.
    if bounds.rate_count > 0 and tat <= u.us + bounds.burst * limits.token_us(gate) + 1 then
      gate.tat = tat
    else
      gate.changed = tat > 0 -- nothing else would remove its key
    end
    gates[sublist] = gate
  end
  return gates[sublist]
end

-- Notes that the room of a group may be another one.
function groups.touch(u, sublist)
  known(u).touched[sublist] = true
end

-- Counts a start.
function groups.enter(u, sublist)
  limits.take(u, groups.gate(u, sublist))
  groups.touch(u, sublist)
end

function groups.leave(u, sublist)
  local gate = groups.gate(u, sublist)
  gate.changed, gate.running = true, math.max(0, gate.running - 1)
  groups.touch(u, sublist)
end

-- Notes that the groups of a type, or what the type allows, may have changed in a queue.
function groups.touch_bundle(u, queue_name, type_name)
  local bundles = known(u).bundles
  bundles[queue_name] = bundles[queue_name] or {}
  bundles[queue_name][type_name] = true
end

-- Brings a group's place among those of its type up to date. `head`: the score of its first job in a queue, or nil.
function groups.place(u, queue_name, sublist, head)
  local type_name, name = groups.split(sublist)
  local all, open = key_of(u, 'ga:', queue_name, type_name), key_of(u, 'go:', queue_name, type_name)
  if head then
    redis.call('ZADD', all, num(head), name)
  else
    redis.call('ZREM', all, name)
  end
  if head and limits.room(u, groups.gate(u, sublist)) > 0 then
    redis.call('ZADD', open, num(head), name)
  else
    redis.call('ZREM', open, name)
  end
  local ready = redis.call('ZCARD', sublists.key(u, queue_name, sublist))
  local counts = key_of(u, 'gn:', queue_name, type_name)
  local before = tonumber(redis.call('HGET', counts, name) or 0)
  if ready ~= before then
    redis.call('HINCRBY', u.prefix .. 'g:' .. type_name, 'groups_ready', num(ready - before))
    if ready > 0 then
      redis.call('HSET', counts, name, num(ready))
    else
      redis.call('HDEL', counts, name)
    end
  end
  groups.touch_bundle(u, queue_name, type_name)
end

-- How many jobs are ready in all groups of a type, those of this call included.
function groups.ready(u, type_name)
  local bounds = groups.bounds(u, type_name)
  if bounds.concurrency == 0 and bounds.rate_count == 0 then
    return 0
  end
  sublists.settle(u)
  return tonumber(redis.call('HGET', u.prefix .. 'g:' .. type_name, 'groups_ready')) or 0
end

-- The sublist of the group whose first job is next, and its score; nil: none may start.
function groups.first(u, queue_name, type_name)
  local first = redis.call('ZRANGE', key_of(u, 'go:', queue_name, type_name), 0, 0, 'WITHSCORES')
  return first[1] and groups.bundle(type_name) .. first[1], tonumber(first[2])
end

-- The sublists of some groups with a ready job: those with the lowest scores.
function groups.some(u, queue_name, type_name, most)
  local found = redis.call('ZRANGE', key_of(u, 'ga:', queue_name, type_name), 0, most - 1)
  for index = 1, #found do
    found[index] = groups.bundle(type_name) .. found[index]
  end
  return found
end

-- The queues with a ready job in a group of a type. They stand in `tq:` beside those of its other jobs, with a \0.
function groups.queues(u, type_name)
  local found = {}
  for _, member in ipairs(redis.call('SMEMBERS', u.prefix .. 'tq:' .. type_name)) do
    found[#found + 1] = groups.type_of(member)
  end
  return found
end

-- When time alone changes something; nil: an attempt must end first, or nothing is kept of the group.
local function wakes_at(u, gate)
  local at = limits.opens_at(u, gate)
  if not at and gate.running == 0 and gate.tat > u.us then
    at = math.ceil(gate.tat / 1000)
  end
  return at
end

local function settle_gate(u, sublist)
  local gate = groups.gate(u, sublist)
  local at = wakes_at(u, gate)
  if at then
    redis.call('ZADD', u.prefix .. 'tg', num(at), sublist)
  else
    redis.call('ZREM', u.prefix .. 'tg', sublist)
  end
end

local function settle_bundle(u, queue_name, type_name)
  local bundle, active = groups.bundle(type_name), u.prefix .. 'a:' .. queue_name
  local all, open = key_of(u, 'ga:', queue_name, type_name), key_of(u, 'go:', queue_name, type_name)
  local command = redis.call('EXISTS', all, open) > 0 and 'SADD' or 'SREM'
  redis.call(command, u.prefix .. 'tq:' .. type_name, queue_name .. '\0')
  redis.call(command, u.prefix .. 'qt:' .. queue_name, bundle)
  u.gates[type_name] = true
  local _, score = groups.first(u, queue_name, type_name)
  if score and limits.room(u, limits.gate(u, type_name)) > 0 then
    redis.call('ZADD', active, num(score), bundle)
  else
    redis.call('ZREM', active, bundle)
  end
end

-- Has the sublists of all touched groups settled, in each queue.
function groups.touch_sublists(u)
  local queues_of = {}
  for sublist in pairs(u.groups and u.groups.touched or {}) do
    local type_name = groups.split(sublist)
    queues_of[type_name] = queues_of[type_name] or groups.queues(u, type_name)
    for _, queue_name in ipairs(queues_of[type_name]) do
      sublists.touch_wholly(u, queue_name, sublist)
    end
  end
end

-- Settles what the call has changed of groups, and of the types that have some.
function groups.settle(u)
  if not u.groups then
    return
  end
  for queue_name, types in pairs(u.groups.bundles) do
    for type_name in pairs(types) do
      settle_bundle(u, queue_name, type_name)
    end
  end
  for sublist in pairs(u.groups.gates) do
    settle_gate(u, sublist)
  end
  u.groups.touched, u.groups.bundles = {}, {}
end

-- Writes the state of the groups that the call has changed; one without any has no key.
function groups.write(u)
  for sublist, gate in pairs(u.groups and u.groups.gates or {}) do
    if gate.changed then
      local key, type_key = u.prefix .. 'gg:' .. sublist, u.prefix .. 'g:' .. gate.type_name
      if gate.running > 0 or gate.tat > u.us then
        redis.call('SET', key, struct.pack('<dd', gate.running, gate.tat))
      else
        redis.call('DEL', key)
      end
      if gate.running ~= gate.running_was then
        redis.call('HINCRBY', type_key, 'groups_running', num(gate.running - gate.running_was))
      end
      gate.changed, gate.running_was = false, gate.running
    end
  end
end
