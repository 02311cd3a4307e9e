-- Audit: compares all that the store holds with the invariants. For tests: it reads everything.

local function fault(found, ...)
  local parts = {}
  for _, value in ipairs({ ... }) do
    parts[#parts + 1] = type(value) == 'number' and num(value) or tostring(value)
  end
  found[#found + 1] = table.concat(parts, ' ')
end

local function ids_of(u, pattern)
  local ids = {}
  for _, key in ipairs(redis.call('KEYS', string.gsub(u.prefix, '[%*%?%[%]]', '\\%0') .. pattern)) do
    ids[#ids + 1] = string.sub(key, #u.prefix + 1)
  end
  return ids
end

local function members(u, key)
  return redis.call('ZRANGE', u.prefix .. key, 0, -1)
end

-- Where each id is: a list of names of its places.
local function places(u)
  local found = {}
  local function note(id, place)
    found[id] = found[id] or {}
    table.insert(found[id], place)
  end
  for _, id in ipairs(members(u, 'd')) do note(id, 'd') end
  for _, id in ipairs(members(u, 'e')) do note(id, 'e') end
  for _, pattern in ipairs({ 'r:*', 'o:*' }) do
    for _, key in ipairs(ids_of(u, pattern)) do
      local of_groups = groups.type_of(key) or fair.sublist_of(key)
      for _, id in ipairs(of_groups and {} or members(u, key)) do note(id, 'q ' .. key) end
    end
  end
  for _, key in ipairs(ids_of(u, 'l:*')) do
    for _, id in ipairs(redis.call('SMEMBERS', u.prefix .. key)) do note(id, 'r ' .. string.sub(key, 3)) end
  end
  return found
end

local function check_place(u, found, job, where)
  if #where ~= 1 then
    fault(found, 'I2', job.id, 'in state', job.s, 'is in', #where, 'places:', table.concat(where, ', '))
    return
  end
  local place = where[1]
  local right = job.s == 'd' and place == 'd' or not records.is_live(job.s) and place == 'e'
    or job.s == 'r' and place == 'r ' .. (job.w or '')
    or job.s == 'q' and string.sub(place, 1, 1) == 'q'
      and string.sub(place, -#job.b - #job.kind.q - 1) == job.kind.q .. ':' .. job.b
  if not right then
    fault(found, 'I2', job.id, 'in state', job.s, 'is at', place)
  end
end

local function check_lease(u, found, job)
  local holder = job.w or ''
  local procs, dying = u.prefix .. 'procs', u.prefix .. 'dying'
  if not redis.call('ZSCORE', procs, holder) and not redis.call('ZSCORE', dying, holder) then
    fault(found, 'I3', job.id, 'is run by', holder, 'which is not known')
  end
end

-- A process is in `idle` exactly if it says that it is: one that is missing would not be woken.
local function check_idle(u, found)
  for _, key in ipairs(ids_of(u, 'p:*')) do
    local is_idle = redis.call('HGET', u.prefix .. key, 'idle') == '1'
    if is_idle ~= (redis.call('SISMEMBER', u.prefix .. 'idle', string.sub(key, 3)) == 1) then
      fault(found, string.sub(key, 3), is_idle and 'is idle and would not be woken' or 'is busy and would be woken')
    end
  end
end

local function check_deadlines(u, found, job)
  local has = redis.call('ZSCORE', u.prefix .. 's', job.id) and true or false
  local should = job.t ~= nil and job.a == 0 and (job.s == 'd' or job.s == 'q')
  if has ~= should then
    fault(found, 'start-by of', job.id, 'in state', job.s, 'is', tostring(has))
  end
  local failed = redis.call('ZSCORE', u.prefix .. 'f', job.id) and true or false
  if failed ~= (job.s == 'f') then
    fault(found, job.id, 'in state', job.s, 'among the failed ones:', tostring(failed))
  end
end

local function count_in(sums, job, claims)
  local live = records.is_live(job.s)
  local name = claims.caller or ''
  local caller = sums.callers[name] or { live = 0, live_bytes = 0, records = 0, bytes = 0 }
  sums.callers[name] = caller
  caller.records, caller.bytes = caller.records + 1, caller.bytes + job.z
  sums.bytes = sums.bytes + job.z
  if live then
    caller.live, caller.live_bytes = caller.live + 1, caller.live_bytes + job.z
    sums.live, sums.live_bytes = sums.live + 1, sums.live_bytes + job.z
    local queue = sums.queues[job.kind.q] or { d = 0, q = 0, r = 0 }
    sums.queues[job.kind.q] = queue
    queue[job.s] = queue[job.s] + 1
  else
    sums.terminal = sums.terminal + 1
  end
end

local function check_records(u, found, sums)
  local where = places(u)
  local seen = 0
  for _, key in ipairs(ids_of(u, 'j:*')) do
    local id = string.sub(key, 3)
    local job = records.get(u, id)
    seen = seen + 1
    check_place(u, found, job, where[id] or {})
    if job.s == 'r' then
      check_lease(u, found, job)
    elseif job.st or job.l then
      fault(found, job.id, 'in state', job.s, 'still has the fields of a running one')
    end
    check_deadlines(u, found, job)
    count_in(sums, job, job.kind.claims)
    local spec = job.kind.spec
    if job.l then
      sums.running[spec.type] = (sums.running[spec.type] or 0) + 1
      if groups.split(job.b) then
        sums.in_group[job.b] = (sums.in_group[job.b] or 0) + 1
      end
    end
    if tonumber(redis.call('ZSCORE', u.prefix .. 'i', id)) ~= job.i then
      fault(found, id, 'has another place than its own')
    end
    where[id] = nil
  end
  for id, list in pairs(where) do
    fault(found, 'I2', id, 'has no record, and is in', table.concat(list, ', '))
  end
  if redis.call('ZCARD', u.prefix .. 'i') ~= seen then
    fault(found, 'the index of all has', redis.call('ZCARD', u.prefix .. 'i'), 'of', seen, 'records')
  end
end

local function check_counts(u, found, sums)
  local store = unit.store(u)
  for _, name in ipairs({ 'live', 'terminal', 'live_bytes', 'bytes' }) do
    if store[name] ~= sums[name] then
      fault(found, 'I1', name, 'is', store[name], 'and should be', sums[name])
    end
  end
  if store.accepted ~= store.live + store.terminal + store.evicted then
    fault(found, 'I5 accepted', store.accepted, 'live', store.live, 'terminal', store.terminal, 'evicted',
      store.evicted)
  end
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'queues')) do
    local queue, sum = unit.queue(u, name), sums.queues[name] or { d = 0, q = 0, r = 0 }
    if queue.delayed ~= sum.d or queue.queued ~= sum.q or queue.running ~= sum.r then
      fault(found, 'I1 queue', name, 'counts', queue.delayed, queue.queued, queue.running, 'has', sum.d, sum.q, sum.r)
    end
  end
  local callers = redis.call('HKEYS', u.prefix .. 'c')
  for _, name in ipairs(callers) do
    local caller, sum = unit.caller(u, name), sums.callers[name] or {}
    for _, field in ipairs(CALLER_COUNTS) do
      if caller[field] ~= (sum[field] or 0) then
        fault(found, 'caller', name, field, 'is', caller[field], 'and should be', sum[field] or 0)
      end
    end
    sums.callers[name] = nil
  end
  for name in pairs(sums.callers) do
    fault(found, 'caller', name, 'holds records and is not counted')
  end
end

local function check_claims(u, found)
  local fields = redis.call('HGETALL', u.prefix .. 'u')
  for index = 1, #fields, 2 do
    local job = records.get(u, fields[index + 1])
    if not job or not records.is_live(job.s) then
      fault(found, 'I6 a unique value belongs to', fields[index + 1], 'which is not live')
    end
  end
  fields = redis.call('HGETALL', u.prefix .. 'k')
  for index = 1, #fields, 2 do
    local id = string.match(fields[index + 1], '^([^%z]+)%z')
    if redis.call('EXISTS', records.key(u, id)) == 0 then
      fault(found, 'I6 a key belongs to', id, 'which is not held')
    end
  end
end

-- Submissions that have debounced a job are known only as long as its record.
local function check_debounced(u, found)
  for _, key in ipairs(ids_of(u, 'db:*')) do
    local entries = cmsgpack.unpack(redis.call('GET', u.prefix .. key))
    for index = 2, #entries, 2 do
      if redis.call('EXISTS', records.key(u, entries[index])) == 0 then
        fault(found, 'I6', key, 'tells of a submission that has debounced', entries[index], 'which is not held')
      end
    end
  end
end

-- Each sublist with a ready job is among those of its queue and of its type.
local function check_names(u, found)
  for _, key in ipairs(ids_of(u, 'r:*')) do
    local queue_name, line = string.match(key, '^r:([^:]+):(.+)$')
    local sublist = fair.base(line)
    local type_name = groups.split(sublist)
    local name, of_queue = type_name and groups.bundle(type_name) or sublist, queue_name .. (type_name and '\0' or '')
    local is_aside = line ~= sublist and redis.call('EXISTS', fair.ring_key(u, queue_name, sublist)) == 0
    local named = sublists.is_lane(sublist) or is_aside
      or redis.call('SISMEMBER', u.prefix .. 'qt:' .. queue_name, name) == 1
      and redis.call('SISMEMBER', u.prefix .. 'tq:' .. (type_name or sublist), of_queue) == 1
    if not named then
      fault(found, 'I7', queue_name, sublist, 'has ready jobs, and neither its queue nor its type tells it')
    end
  end
end

-- Compares the score of a sublist with its first job. `waits`: a tick that opens it is due.
local function check_score(found, name, head, open, score, waits)
  if head and open and score ~= head and not waits then
    fault(found, 'I7', name, 'may start', head, 'and stands at', tostring(score))
  elseif score and not (head and open) then
    fault(found, 'I7', name, 'may start nothing and stands at', score)
  end
end

local function check_group(u, found, queue_name, type_name, sublist)
  local name, head = string.sub(sublist, #type_name + 2), sublists.head(u, queue_name, sublist)
  local gate, at = groups.gate(u, sublist), tonumber(redis.call('ZSCORE', u.prefix .. 'tg', sublist) or nil)
  local open = limits.room(u, gate) > 0
  local score = tonumber(redis.call('ZSCORE', u.prefix .. 'go:' .. queue_name .. ':' .. type_name, name) or nil)
  check_score(found, queue_name .. ' ' .. sublist, head, open, score, at and at <= u.now)
  if not open and not at and limits.opens_at(u, gate) then
    fault(found, 'I7', queue_name, sublist, 'is shut until an instant that no tick knows')
  end
  local all = tonumber(redis.call('ZSCORE', groups.all_key(u, queue_name, type_name), name) or nil)
  if all ~= head then
    fault(found, 'I7', queue_name, sublist, 'begins with', tostring(head), 'and is known by', tostring(all))
  end
end

-- Each group with a ready job stands where its state says; each state is that of attempts, or of a bucket.
local function check_groups(u, found, sums)
  local ready, running = {}, {}
  for _, key in ipairs(ids_of(u, 'r:*')) do
    local queue_name, sublist = string.match(key, '^r:([^:]+):(.+)$')
    local type_name = groups.split(sublist)
    if type_name then
      check_group(u, found, queue_name, type_name, sublist)
      ready[type_name] = (ready[type_name] or 0) + redis.call('ZCARD', u.prefix .. key)
    end
  end
  for _, key in ipairs(ids_of(u, 'gg:*')) do
    local sublist = string.sub(key, 4)
    local gate, held = groups.gate(u, sublist), sums.in_group[sublist] or 0
    running[gate.type_name] = (running[gate.type_name] or 0) + gate.running
    if gate.running ~= held or (gate.concurrency > 0 and held > gate.concurrency) then
      fault(found, 'group', sublist, 'counts', gate.running, 'running of', gate.concurrency, 'and has', held)
    elseif held == 0 and not redis.call('ZSCORE', u.prefix .. 'tg', sublist) then
      fault(found, 'group', sublist, 'is kept for no reason')
    end
    sums.in_group[sublist] = nil
  end
  for sublist, held in pairs(sums.in_group) do
    fault(found, 'group', sublist, 'runs', held, 'and has no state')
  end
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'types')) do
    local counts = redis.call('HMGET', u.prefix .. 'g:' .. name, 'groups_running', 'groups_ready')
    local told_running, told_ready = tonumber(counts[1]) or 0, tonumber(counts[2]) or 0
    if told_running ~= (running[name] or 0) or told_ready ~= (ready[name] or 0) then
      fault(found, 'the groups of', name, 'count', told_running, told_ready, 'and have', running[name] or 0,
        ready[name] or 0)
    end
  end
end

-- Adds up the lines of each sublist. Each is in its ring, or its ring is set aside.
local function check_lines(u, found, ready)
  for _, key in ipairs(ids_of(u, 'r:*')) do
    local queue_name, line = string.match(key, '^r:([^:]+):(.+)$')
    local sublist, name = fair.split(line)
    if sublist then
      local turn, aside = redis.call('ZSCORE', fair.ring_key(u, queue_name, sublist), name), false
      for _, ring in ipairs(ids_of(u, 'o:*')) do
        aside = aside or string.match(ring, '^o:%d+:(.+)$') == queue_name .. ':' .. fair.ring(sublist)
          and redis.call('ZSCORE', u.prefix .. ring, name)
      end
      if not turn and not aside then
        fault(found, 'I7', queue_name, line, 'has ready jobs and no turn')
      end
      local name_of_sum = queue_name .. ':' .. sublist
      ready[name_of_sum] = (ready[name_of_sum] or 0) + redis.call('ZCARD', u.prefix .. key)
    elseif not groups.split(line) and unit.queue(u, queue_name).discipline == 'fair' then
      fault(found, 'I7', queue_name, line, 'has jobs outside of lines')
    end
  end
end

-- A group has one turn in a queue. `turns`: those seen so far.
local function check_turn(found, turns, queue_name, sublist, name, turn)
  local group = queue_name .. ' ' .. name
  if (turns[group] or turn) ~= turn then
    fault(found, 'I7', queue_name, sublist, name, 'has the turns', turns[group], 'and', turn)
  end
  turns[group] = turn
end

-- Each group in a ring has a job, and the turn that it has in the other rings of the queue.
local function check_ring(u, found, key, turns)
  local queue_name, sublist = string.match(key, '^fr:([^:]+):(.+)$')
  local ring = redis.call('ZRANGE', u.prefix .. key, 0, -1, 'WITHSCORES')
  for index = 1, #ring, 2 do
    local line = fair.ring(sublist) .. ring[index]
    if redis.call('EXISTS', sublists.key(u, queue_name, line)) == 0 then
      fault(found, 'I7', queue_name, line, 'has a turn and no ready job')
    end
    check_turn(found, turns, queue_name, sublist, ring[index], ring[index + 1])
    if tonumber(ring[index + 1]) > unit.queue(u, queue_name).seq + 1 then
      fault(found, 'I7', queue_name, line, 'has a turn that was not given out')
    end
  end
end

-- Each group with limits has the turn that it has in the rings of a fair queue.
local function check_turns_of_limited(u, found, key, turns)
  local queue_name, type_name = string.match(key, '^ga:([^:]+):(.+)$')
  local all = unit.queue(u, queue_name).discipline == 'fair' and redis.call('ZRANGE', u.prefix .. key, 0, -1,
    'WITHSCORES') or {}
  for index = 1, #all, 2 do
    check_turn(found, turns, queue_name, type_name, all[index], all[index + 1])
  end
end

local function check_fair(u, found)
  local ready, turns = {}, {}
  check_lines(u, found, ready)
  for _, key in ipairs(ids_of(u, 'fr:*')) do
    check_ring(u, found, key, turns)
  end
  for _, key in ipairs(ids_of(u, 'ga:*')) do
    check_turns_of_limited(u, found, key, turns)
  end
  for _, key in ipairs(ids_of(u, 'fn:*')) do
    local counts, queue_name = redis.call('HGETALL', u.prefix .. key), string.sub(key, 4)
    for index = 1, #counts, 2 do
      local name = queue_name .. ':' .. counts[index]
      if tonumber(counts[index + 1]) ~= ready[name] then
        fault(found, 'the lines of', name, 'count', counts[index + 1], 'and have', tostring(ready[name]))
      end
      ready[name] = nil
    end
  end
  for name in pairs(ready) do
    if not sublists.is_lane(string.match(name, ':(.+)$')) then
      fault(found, 'the lines of', name, 'are not counted')
    end
  end
end

local function check_sublists(u, found, sums)
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'queues')) do
    for _, sublist in ipairs(sublists.of(u, name)) do
      local of_groups, by_lane = groups.type_of(sublist), sublists.is_lane(sublist)
      local type_name = of_groups or sublist
      local _, first = groups.first(u, name, of_groups or '')
      local head = of_groups and first or sublists.head(u, name, sublist)
      local score = tonumber(redis.call('ZSCORE', u.prefix .. 'a:' .. name, sublist) or nil)
      local open = by_lane or limits.room(u, limits.gate(u, type_name)) > 0
      local at = not by_lane and tonumber(redis.call('ZSCORE', u.prefix .. 't', type_name) or nil)
      -- A type that time has just opened stays shut until the next tick, which is due.
      check_score(found, name .. ' ' .. sublist, head, open, score, at and at <= u.now)
      if head and not open and not at and limits.opens_at(u, limits.gate(u, type_name)) then
        fault(found, 'I7', name, sublist, 'is shut until an instant that no tick knows')
      end
    end
  end
  for _, name in ipairs(redis.call('SMEMBERS', u.prefix .. 'types')) do
    local gate = limits.gate(u, name)
    if gate.running ~= (sums.running[name] or 0) then
      fault(found, 'type', name, 'counts', gate.running, 'running and has', sums.running[name] or 0)
    end
    if gate.concurrency > 0 and gate.running > gate.concurrency then
      fault(found, 'type', name, 'runs', gate.running, 'of', gate.concurrency)
    end
  end
end

function api.audit(keys, _)
  local u = unit.begin(keys)
  local found, of_others = { u.now }, overwritten.found(u)
  for index = 1, #of_others, 3 do
    fault(found, of_others[index], 'is a', of_others[index + 1], 'and should be a', of_others[index + 2])
  end
  if #of_others > 0 then
    return found
  end
  local sums = { live = 0, terminal = 0, live_bytes = 0, bytes = 0, queues = {}, callers = {}, running = {},
    in_group = {} }
  check_records(u, found, sums)
  check_counts(u, found, sums)
  check_claims(u, found)
  check_debounced(u, found)
  check_names(u, found)
  check_sublists(u, found, sums)
  check_groups(u, found, sums)
  check_fair(u, found)
  check_idle(u, found)
  return found
end
