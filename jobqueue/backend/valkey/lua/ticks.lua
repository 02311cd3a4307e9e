-- Ticks: what becomes due by time alone, a portion a call. Any process may tick, and several may: each step is whole.

local INDEXED = {
  d = { d = true },
  s = { d = true, q = true },
  e = { s = true, f = true, c = true, x = true },
}

local ticks = {}

-- When the earliest thing is due; -1: nothing is.
function ticks.next_at(u)
  local prefix = u.prefix
  local first
  if redis.call('EXISTS', prefix .. 'dying', prefix .. 'resort') > 0 then
    return u.now
  end
  local grace = unit.store(u).grace_until
  for _, name in ipairs({ 'd', 's', 'e', 't', 'tg', 'pz', 'procs' }) do
    local at = tonumber(redis.call('ZRANGE', prefix .. name, 0, 0, 'WITHSCORES')[2])
    if at and name == 'procs' then
      at = math.max(at, grace)
    end
    if at and (not first or at < first) then
      first = at
    end
  end
  return first or -1
end

local function due(u, name, most)
  return redis.call('ZRANGEBYSCORE', u.prefix .. name, '-inf', num(u.now), 'LIMIT', 0, most)
end

-- The record that an index names, if it is in the state that the index is of. Another entry, of a call that failed
-- midway or by a hand that is not ours, is forgotten: it would stop all ticks.
local function held(u, index, id)
  local job = records.get(u, id)
  if job and INDEXED[index][job.s] then
    return job
  end
  redis.call('ZREM', u.prefix .. index, id)
  return nil
end

local function open_due(u, most)
  local names = due(u, 't', most)
  for _, type_name in ipairs(names) do
    u.gates[type_name] = true
    u.readied = u.readied + 1
  end
  local of_groups = #names < most and due(u, 'tg', most - #names) or {}
  for _, sublist in ipairs(of_groups) do
    groups.gate(u, sublist).changed = true -- it may have no state any more
    groups.touch(u, sublist)
    u.readied = u.readied + 1
  end
  sublists.settle(u)
  return #names + #of_groups
end

local function promote(u, most, promoted)
  local ids = due(u, 'd', most)
  records.fetch(u, ids)
  for _, id in ipairs(ids) do
    local job = held(u, 'd', id)
    if job then
      transitions.to_queued(u, job)
      records.write(u, job)
      promoted[#promoted + 1] = id
      events.of_job(u, 'queued', job)
    end
  end
  return #ids
end

local function expire(u, most, expired)
  unit.written(u, u.prefix .. 's')
  local ids = due(u, 's', most)
  records.fetch(u, ids)
  for _, id in ipairs(ids) do
    local job = held(u, 's', id)
    if job then
      transitions.finish(u, job, 'x')
      records.write(u, job)
      expired[#expired + 1] = id
    end
  end
  return #ids
end

local function evict(u, most, evicted)
  unit.written(u, u.prefix .. 'e')
  local ids = due(u, 'e', most)
  records.fetch(u, ids)
  for _, id in ipairs(ids) do
    local job = held(u, 'e', id)
    if job then
      records.evict(u, job)
      evicted[#evicted + 1] = id
    end
  end
  return #ids
end

local function resume(u, most, resumed)
  local names = due(u, 'pz', most)
  for _, name in ipairs(names) do
    queues.resume(u, name, '')
    resumed[#resumed + 1] = name
  end
  return #names
end

function api.tick(keys, args)
  local u = unit.begin(keys)
  local left = unit.number(args[1], 'the number of steps', 1, STEPS_MAX)
  local promoted, expired, evicted, requeued, failed, resumed, dead = {}, {}, {}, {}, {}, {}, {}
  local steps = {
    function(most) return resume(u, most, resumed) end,
    function(most) return open_due(u, most) end,
    function(most) return promote(u, most, promoted) end,
    function(most) return expire(u, most, expired) end,
    function(most) return processes.reap(u, most, requeued, failed, dead) end,
    function(most) return sublists.sort_in(u, most) end,
    function(most) return evict(u, most, evicted) end,
  }
  for _, step in ipairs(steps) do
    if left > 0 then
      left = left - step(left)
    end
  end
  unit.finish(u)
  local next_at = left <= 0 and u.now or ticks.next_at(u)
  return { u.now, next_at, promoted, expired, evicted, requeued, failed, resumed, dead }
end
