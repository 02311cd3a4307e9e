-- Submit: new jobs of one queue, each on its own: accepted, an existing one, or rejected. Every check of a job comes
-- before its first change.

local NEW, THERE, DUPLICATE, DEBOUNCED = 1, 2, 3, 4
local QUEUE_FULL, STORE_FULL, QUARANTINED, KEY_REUSED = -1, -2, -3, -4
local JOBS_FULL, RECORDS_FULL, BYTES_FULL, NOT_UNIQUE, UNKNOWN_QUEUE = -5, -6, -7, -8, -9
local WRONG_STATE, VALUE_TAKEN = -10, -11

-- One in so many slots of a queue may be held by jobs of a type in quarantine.
local QUARANTINED_PART = 10
-- Beside the key: what it takes in the indexes.
local KEY_BYTES = 300

local admission = {}

-- Jobs that wait for a type, in all queues; those of this call are in no index yet, but for their sublist.
local function waiting_of(u, type_name, queue)
  local waiting = sublists.ready(u, queue, type_name)
  for _, queue_name in ipairs(redis.call('SMEMBERS', u.prefix .. 'tq:' .. type_name)) do
    if queue_name ~= queue.name then
      waiting = waiting + sublists.ready(u, unit.queue(u, queue_name), type_name)
    end
  end
  return waiting + groups.ready(u, type_name)
end

-- Returns nil, or the code of a rejection with a number and a text. `replaced` would be terminal by then.
function admission.check(u, queue, spec, size, claims, replaced)
  local store = unit.store(u)
  local gone = replaced and 1 or 0
  local gone_bytes = replaced and replaced.z or 0
  if unit.live(queue) - (replaced and replaced.kind.q == queue.name and 1 or 0) >= queue.capacity then
    return QUEUE_FULL, 0, ''
  end
  if store.live - gone >= store.jobs_max or store.live_bytes - gone_bytes + size > store.bytes_max then
    return STORE_FULL, 0, ''
  end
  if limits.quarantined(u)[spec.type] then
    local gate = limits.gate(u, spec.type)
    if waiting_of(u, spec.type, queue) >= math.max(1, math.floor(queue.capacity / QUARANTINED_PART)) then
      return QUARANTINED, gate['until'], gate.reason
    end
  end
  if claims.jobs_max or claims.records_max or claims.bytes_max then
    local caller = unit.caller(u, claims.caller or '')
    local own = replaced and replaced.kind.claims.caller == claims.caller
    local live = caller.live - (own and 1 or 0)
    local live_bytes = caller.live_bytes + size - (own and replaced.z or 0)
    if claims.jobs_max and live >= claims.jobs_max then
      return JOBS_FULL, caller.live, ''
    elseif claims.records_max and live >= claims.records_max then
      return RECORDS_FULL, caller.live, ''
    elseif claims.bytes_max and live_bytes > claims.bytes_max then
      return BYTES_FULL, caller.live_bytes, ''
    end
  end
  return nil
end

-- As `check`, for a live record that grows.
local function check_growth(u, more, claims)
  local store = unit.store(u)
  if store.live_bytes + more > store.bytes_max then
    return STORE_FULL
  end
  if claims.bytes_max then
    local caller = unit.caller(u, claims.caller or '')
    if caller.live_bytes + more > claims.bytes_max then
      return BYTES_FULL, caller.live_bytes
    end
  end
  return nil
end

-- A record that is new, and its number among the ready ones; nil: it is delayed.
local function new_job(u, queue, item, size)
  local spec, number, sublist, since, at = item.kind.spec, nil, '', nil, u.now
  if spec.delay_ms > 0 then
    queue.delayed = queue.delayed + 1
    at = spec.run_at or u.now + spec.delay_ms
    unit.add(u, unit.key(u, 'd'), at, item.id)
  else
    queue.seq, queue.queued = queue.seq + 1, queue.queued + 1
    number, sublist, since = queue.seq, sublists.of_kind(u, queue, item.kind), u.now
    sublists.push(u, queue, sublist, item.id, spec.priority, number, since)
  end
  local place = unit.next_place(u)
  unit.store(u).place = place
  unit.add(u, unit.key(u, 'i'), place, item.id)
  local job = {
    id = item.id, s = number and 'q' or 'd', h = 0, x = #item.args, y = -1, v = 0, a = 0, z = size, o = nil, w = '',
    A = '', kind = item.kind,
    rest = records.rest({ n = 0, k = -1, rc = 0, i = place, c = u.now, d = at, r = since, sq = number, b = sublist,
      P = '', E = '' }),
  }
  return job, place
end

local function accept(u, queue, item, spec, claims)
  local size = #item.args + item.held
  local evicted = records.make_room(u, claims, item.kind.caller, 1, size)
  local job, place = new_job(u, queue, item, size)
  records.keep(u, job, 'A', 'arg:', item.args)
  if spec.start_by_ms then
    job.t = u.now + spec.start_by_ms
    transitions.watch_start_by(u, job)
  end
  u.records[job.id] = job
  records.write(u, job)
  uniqueness.stake(u, job.id, spec, claims)
  records.count_new(u, claims, size)
  events.of_job(u, 'submitted', job)
  return job, place, evicted
end

local function share(u, job, claims)
  if claims.key then
    local dropped = uniqueness.share(u, job, claims)
    local more = KEY_BYTES + #claims.key - (dropped and KEY_BYTES + dropped or 0)
    records.make_room(u, claims, job.kind.caller, 0, more)
    records.grow(u, job, more)
  end
end

-- Debounce: gives a waiting job the newest arguments and, unless it is due already, a new delay.
local function put_off(u, job, item, spec, claims)
  local waits = job.s == 'd' and job.a == 0
  local more = #item.args - job.x
  local code, at = check_growth(u, more + (claims.key and KEY_BYTES + #claims.key or 0), claims)
  if code then
    return code, at
  end
  records.make_room(u, claims, claims.caller or '', 0, more)
  records.grow(u, job, more)
  records.drop_args(u, job)
  records.keep(u, job, 'A', 'arg:', item.args)
  job.x, job.v = #item.args, job.v + 1
  if waits then
    unit.remove(u, u.prefix .. 'd', job.id)
    unit.remove(u, u.prefix .. 's', job.id)
    job.kind = specs.kind_of(u, unit.queue(u, job.kind.q), item.kind.S, job.kind.C) -- it stays its caller's
    job.d = spec.delay_ms > 0 and (spec.run_at or u.now + spec.delay_ms) or u.now
    job.t = spec.start_by_ms and u.now + spec.start_by_ms or nil
    unit.add(u, u.prefix .. 'd', job.d, job.id)
    transitions.watch_start_by(u, job)
  end
  share(u, job, claims)
  records.write(u, job)
  events.of_job(u, 'changed', job)
  return DEBOUNCED
end

-- A submission with the unique value of a live job. Returns a code, and what else the reply has.
local function beside(u, queue, item, spec, claims, holder)
  local waits = holder.s ~= 'r'
  if claims.mode == 'return' then
    local code, at = nil, 0
    if claims.key then
      code, at = check_growth(u, KEY_BYTES + #claims.key, claims)
    end
    if not code then
      share(u, holder, claims)
      records.write(u, holder)
    end
    return code or DUPLICATE, holder, at or 0
  elseif claims.mode == 'reject' then
    return NOT_UNIQUE, holder, 0
  elseif claims.mode == 'debounce' and waits and holder.kind.q == queue.name then
    local code, at = put_off(u, holder, item, spec, claims)
    if code == DEBOUNCED then
      uniqueness.note_debounced(u, queue, item.id, spec, claims, holder)
    end
    return code, holder, at or 0
  end
  local code, at, text =
    admission.check(u, queue, spec, #item.args + item.held, claims, waits and holder or nil)
  if code then
    return code, nil, at, text
  end
  local replaced = ''
  if claims.mode == 'replace' or waits then
    transitions.cancel(u, holder)
    records.write(u, holder)
    replaced = holder.id
  end
  local job, place, evicted = accept(u, queue, item, spec, claims)
  return NEW, job, place, replaced, evicted
end

local function submit_one(u, queue, item, is_new)
  if is_new and u.records[item.id] == nil then
    u.records[item.id] = false
  end
  local there = records.get(u, item.id)
  if there then
    return THERE, there, there.i
  end
  local spec, claims = item.kind.spec, item.kind.claims
  local debounced = claims.value and claims.mode == 'debounce'
    and uniqueness.debounced(u, queue, item.id, spec, claims)
  if debounced then
    return DEBOUNCED, debounced, 0
  end
  if claims.key then
    local id, fingerprint = uniqueness.under_key(u, specs.key_name(claims))
    if id then
      if fingerprint ~= (claims.fingerprint or '') then
        return KEY_REUSED, nil, 0, id
      end
      return DUPLICATE, records.get(u, id), 0
    end
  end
  local holder = claims.value and uniqueness.holder(u, spec, claims)
  if holder then
    return beside(u, queue, item, spec, claims, holder)
  end
  local code, at, text = admission.check(u, queue, spec, #item.args + item.held, claims)
  if code then
    return code, nil, at, text
  end
  local job, place, evicted = accept(u, queue, item, spec, claims)
  return NEW, job, place, '', evicted
end

-- Whether none of the jobs is held: all are new, unless a call is sent again.
local function all_new(u, items)
  local keys, prefix = {}, unit.key(u, 'j:')
  for index = 1, #items do
    keys[index] = prefix .. items[index].id
  end
  return #keys > 0 and redis.call('EXISTS', unpack(keys)) == 0
end

-- Reads the arguments of all jobs before anything is changed: one that can't be read rejects the call as a whole.
local function items_of(u, queue, args)
  local items, spec, claims, kind = {}, nil, nil, nil
  for index = 1, unit.items(args, 3, 5, JOBS_MAX) do
    local at = 3 + 5 * (index - 1)
    if args[at + 3] ~= spec or args[at + 5] ~= claims then
      spec, claims = args[at + 3], args[at + 5]
      kind = specs.kind_of(u, queue, spec, claims)
    end
    items[index] = {
      id = args[at + 1],
      held = args[at + 2] == '0' and 0 or unit.number(args[at + 2], 'held_bytes', 0, 2 ^ 40),
      args = args[at + 4],
      kind = kind,
    }
  end
  return items
end

-- The letter that tells what became of a job: its state, if it is new and nothing else is to be told, else `-`, with
-- the rest at the end of the reply.
local function answer(reply, code, job, number, text)
  if code == NEW and text == '' then
    return job.s
  end
  local base = #reply
  reply[base + 1], reply[base + 2], reply[base + 3] = code, job and job.id or '', job and job.s or ''
  reply[base + 4], reply[base + 5], reply[base + 6] = job and job.v or 0, number or 0, text or ''
  return '-'
end

function api.submit(keys, args)
  local u = unit.begin(keys)
  local queue = unit.queue(u, args[1])
  local items = items_of(u, queue, args)
  local reply, early, letters, index = { u.now, 0, 0, 0, '' }, 0, {}, 1
  local are_new = all_new(u, items)
  while index <= #items do
    local count = queue.known and are_new and plain.accept(u, queue, items, index) or 0
    if count > 0 then
      letters[#letters + 1] = string.rep('q', count)
    else
      local code, job, number, text, evicted = UNKNOWN_QUEUE, nil, 0, '', 0
      if queue.known then
        code, job, number, text, evicted = submit_one(u, queue, items[index], are_new)
      end
      early, count = early + (evicted or 0), 1
      letters[#letters + 1] = answer(reply, code, job, number, text)
    end
    index = index + count
  end
  if args[2] ~= '1' then
    u.readied = 0
  end
  unit.finish(u)
  reply[2], reply[3], reply[4], reply[5] = unit.live(queue), queue.capacity, early, table.concat(letters)
  return reply
end
