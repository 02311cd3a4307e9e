-- Limits of types: concurrency, rate, and quarantine after too many failures in a row. A type's state is its gate.
--
-- Rules:
--
-- 1. `running` counts the attempts of a type over all queues and processes, while it has a limit or is in quarantine.
-- 2. The rate is GCRA: `tat` is the instant, in microseconds, at which the bucket is full again.
-- 3. A type in quarantine starts nothing before `until`, and then one attempt at a time: the probe. Its failure
--    doubles the wait, up to a minute; its success opens the type. Outcomes of earlier attempts don't count, nor do,
--    after a release, those of attempts that started before.
-- 4. Failures are counted in a row, whosever jobs they were. Attempts lost with their process don't count: a machine
--    that dies would shut all its types.

local limits = {}

local PROBE_MS_MIN = 1000
local PROBE_MS_MAX = 60000
local UNBOUNDED = 2 ^ 30

local GATE_CHANGING = { 'running', 'tat', 'fails', 'until', 'since', 'wait', 'counts_from', 'probe', 'reason' }
local GATE_FIELDS = joined(GATE_CHANGING, { 'lane', 'concurrency', 'rate_count', 'rate_period_ms', 'burst' })

function limits.gate(u, type_name)
  local gate = u.types[type_name]
  if not gate then
    local values = redis.call('HMGET', u.prefix .. 'g:' .. type_name, unpack(GATE_FIELDS))
    gate = {
      name = type_name,
      running = tonumber(values[1]) or 0,
      tat = tonumber(values[2]) or 0,
      fails = tonumber(values[3]) or 0,
      ['until'] = tonumber(values[4]) or -1,
      since = tonumber(values[5]) or -1,
      wait = tonumber(values[6]) or PROBE_MS_MIN,
      counts_from = tonumber(values[7]) or 0,
      probe = values[8] or '',
      reason = values[9] or '',
      lane = values[10],
      concurrency = tonumber(values[11]) or 0,
      rate_count = tonumber(values[12]) or 0,
      rate_period_ms = tonumber(values[13]) or 0,
      burst = tonumber(values[14]) or 0,
      changed = false,
    }
    u.types[type_name] = gate
  end
  return gate
end

function limits.write(u, gate)
  if gate.changed then
    redis.call('HSET', u.prefix .. 'g:' .. gate.name, 'running', num(gate.running),
      'tat', string.format('%.3f', gate.tat), 'fails', num(gate.fails), 'until', num(gate['until']),
      'since', num(gate.since), 'wait', num(gate.wait), 'counts_from', num(gate.counts_from),
      'probe', gate.probe, 'reason', gate.reason)
    redis.call('SADD', u.prefix .. 'types', gate.name)
    redis.call(gate.fails > 0 and 'SADD' or 'SREM', u.prefix .. 'failing', gate.name)
    gate.changed = false
  end
end

-- The types in quarantine, as a set.
function limits.quarantined(u)
  if not u.quarantined then
    u.quarantined = {}
    for _, type_name in ipairs(redis.call('SMEMBERS', u.prefix .. 'shut')) do
      u.quarantined[type_name] = true
    end
  end
  return u.quarantined
end

function limits.is_limited(gate)
  return gate.concurrency > 0 or gate.rate_count > 0
end

function limits.token_us(gate)
  return gate.rate_period_ms * 1000 / gate.rate_count
end

-- How many attempts of a type may start now.
function limits.room(u, gate)
  local room = UNBOUNDED
  if gate.concurrency > 0 then
    room = gate.concurrency - gate.running
    if room <= 0 then
      return 0
    end
  end
  if gate['until'] >= 0 then
    if gate.probe ~= '' or u.now < gate['until'] then
      return 0
    end
    room = 1
  end
  if gate.rate_count > 0 then
    local tokens = gate.burst
    if gate.tat > u.us then
      -- A thousandth: sums of fractions of a microsecond may be a little too high.
      tokens = gate.burst - math.ceil((gate.tat - u.us) / limits.token_us(gate) - 0.001)
    end
    room = math.min(room, tokens)
  end
  return math.max(0, room)
end

local function free_at(gate)
  return math.ceil((gate.tat - (gate.burst - 1) * limits.token_us(gate)) / 1000 - 0.001)
end

-- When time alone makes room, while there is none; nil: there is room, or an attempt must end first.
function limits.opens_at(u, gate)
  if limits.room(u, gate) > 0 or (gate.concurrency > 0 and gate.running >= gate.concurrency) then
    return nil
  end
  if gate['until'] >= 0 then
    if gate.probe ~= '' then
      return nil
    elseif u.now < gate['until'] then
      return gate['until']
    end
  end
  return gate.rate_count > 0 and free_at(gate) or nil
end

-- When the rate has the next token; -1 if it has one, or there is no rate.
function limits.free_at(u, gate)
  if gate.rate_count > 0 and gate.tat > u.us then
    local at = free_at(gate)
    return at > u.now and at or -1
  end
  return -1
end

-- Takes a permit and a token.
function limits.take(u, gate)
  gate.changed = true
  gate.running = gate.running + 1
  if gate.rate_count > 0 then
    gate.tat = math.max(gate.tat, u.us) + limits.token_us(gate)
  end
end

-- Counts a start; `attempt` names it.
function limits.enter(u, gate, attempt)
  limits.take(u, gate)
  if gate['until'] >= 0 then
    gate.probe = attempt
  end
  u.gates[gate.name] = true
end

function limits.leave(u, gate, attempt)
  gate.changed = true
  gate.running = math.max(0, gate.running - 1)
  if gate.probe == attempt then
    gate.probe = ''
  end
  u.gates[gate.name] = true
  u.readied = u.readied + 1
end

local function shut(u, gate, since, reason)
  if gate['until'] < 0 then
    redis.call('SADD', u.prefix .. 'shut', gate.name)
    limits.quarantined(u)[gate.name] = true
  end
  gate.changed = true
  gate.since, gate['until'], gate.reason = since, u.now + gate.wait, reason
  u.gates[gate.name] = true
  unit.store(u).cfg = unit.store(u).cfg + 1
  events.add(u, { 'e', 'quarantined', 't', gate.name, 'until', num(gate['until']), 'reason', reason })
end

function limits.open(u, gate, counts_from)
  redis.call('SREM', u.prefix .. 'shut', gate.name)
  limits.quarantined(u)[gate.name] = nil
  gate['until'], gate.since, gate.fails, gate.wait, gate.probe, gate.reason = -1, -1, 0, PROBE_MS_MIN, '', ''
  gate.counts_from = counts_from
  gate.changed = true
  u.gates[gate.name] = true
  unit.store(u).cfg = unit.store(u).cfg + 1
  events.add(u, { 'e', 'released', 't', gate.name })
end

-- Counts a failure of an attempt that started at `started`.
function limits.failed(u, queue, gate, started, reason)
  if gate['until'] >= 0 then
    if started >= gate['until'] then
      gate.wait = math.min(PROBE_MS_MAX, 2 * gate.wait)
      gate.fails = gate.fails + 1
      shut(u, gate, gate.since, reason)
    end
  elseif started >= gate.counts_from then
    gate.fails, gate.changed = gate.fails + 1, true
    if queue.retry_budget > 0 and gate.fails >= queue.retry_budget then
      shut(u, gate, u.now, reason)
    end
  end
end

-- Whether successes of a type change nothing: only one with failures has a state, and `failing` tells it for less.
function limits.never_failed(u, type_name)
  if u.types[type_name] then
    return false
  end
  if u.unfailing[type_name] == nil then
    u.unfailing[type_name] = redis.call('SISMEMBER', u.prefix .. 'failing', type_name) == 0
  end
  return u.unfailing[type_name]
end

-- Counts a success.
function limits.succeeded(u, type_name, started)
  if limits.never_failed(u, type_name) then
    return
  end
  local gate = limits.gate(u, type_name)
  if gate['until'] >= 0 then
    if started >= gate['until'] then
      limits.open(u, gate, gate['until'])
    end
  elseif gate.fails > 0 and started >= gate.counts_from then
    gate.fails, gate.changed = 0, true
  end
end
