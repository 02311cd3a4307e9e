-- Plain lives: jobs that no check concerns are moved many at a time, since most are such ones.
--
-- Rules:
--
-- 1. What `submit`, `transitions` and `records` do for a job with all their checks is done here for a run of jobs of
--    one kind: no key, no unique value, no delay, no start-by; no permit, no stop, no attempt before; nothing to be
--    evicted for it; no server that listens to events.
-- 2. Each function begins with a given job, takes as many as are plain, and returns how many. The next one goes the
--    long way, which has the same outcome for all: what is changed there is changed here.
-- 3. Counts are changed once for a run, and the numbers at the head of a record are packed and unpacked once for those
--    that have the same: jobs of one call began together, and many have arguments of one size.

local plain = {}

-- How many more jobs of a kind, and how many bytes, fit without an eviction.
local function room_for(u, queue, kind)
  local store, caller, claims = unit.store(u), unit.caller(u, kind.caller), kind.claims
  local jobs = math.min(queue.capacity - unit.live(queue), store.jobs_max - store.live - store.terminal)
  local bytes = store.bytes_max - store.bytes
  if claims.jobs_max then jobs = math.min(jobs, claims.jobs_max - caller.live) end
  if claims.records_max then jobs = math.min(jobs, claims.records_max - caller.records) end
  if claims.bytes_max then bytes = math.min(bytes, claims.bytes_max - caller.bytes) end
  return jobs, bytes
end

-- The bytes that the live jobs of a kind may grow by without an eviction; nil: a bound is exceeded already.
local function growth_for(u, kind)
  local store, caller, claims = unit.store(u), unit.caller(u, kind.caller), kind.claims
  if store.live_bytes > store.bytes_max or store.live + store.terminal > store.jobs_max
    or (claims.bytes_max and caller.live_bytes > claims.bytes_max)
    or (claims.records_max and caller.records > claims.records_max) then
    return nil
  end
  local bytes = store.bytes_max - store.bytes
  return claims.bytes_max and math.min(bytes, claims.bytes_max - caller.bytes) or bytes
end

local function count_accepted(u, queue, kind, count, bytes)
  local store, caller = unit.store(u), unit.caller(u, kind.caller)
  queue.seq, queue.queued = queue.seq + count, queue.queued + count
  store.live, store.accepted = store.live + count, store.accepted + count
  store.live_bytes, store.bytes = store.live_bytes + bytes, store.bytes + bytes
  caller.live, caller.live_bytes, caller.changed = caller.live + count, caller.live_bytes + bytes, true
  caller.records, caller.bytes = caller.records + count, caller.bytes + bytes
  u.readied = u.readied + count
end

-- Whether the jobs of a kind are plain while they are new.
local function is_plain(u, kind)
  local spec, claims = kind.spec, kind.claims
  return spec.delay_ms == 0 and not (spec.start_by_ms or claims.key or claims.value)
    and not limits.quarantined(u)[spec.type] and not events.are_heard(u)
end

-- Returns the heads of new records by the bytes of the arguments, and those that count.
local function new_heads(kind)
  local pack, known, kind_bytes = struct.pack, {}, #kind.text
  return function(x, size)
    local head = x == size and known[x]
    if not head then
      local A_len = x > INLINE_BYTES and 0 or x
      head = pack(HEAD, 'q', 0, 0, x, -1, 0, 0, size, -1, -1, -1, 0, 0, A_len, 0, kind_bytes)
      if x == size then
        known[x] = head
      end
    end
    return head
  end
end

-- Returns the rests of new records of a sublist by their places and numbers: `REST` in parts.
local function new_rests(u, sublist)
  local pack, now = struct.pack, u.now
  local before, between = pack('<BI4i4I4', 0, 0, -1, 0), pack('<ddd', now, now, now)
  local after = pack('<I2I4I4', #sublist, 0, 0) .. sublist
  return function(place, number)
    return before .. pack('<d', place) .. between .. pack('<d', number) .. after
  end
end

-- The numbers at the head of a record, taken apart once for all that have the same.
local function head_of(heads, text)
  local bytes = string.sub(text, 1, HEAD_BYTES)
  local head = heads[bytes]
  if not head then
    local s, l, h, x, y, v, a, z, t, o, f, w_len, st_len, A_len, R_len, kind_len, at = struct.unpack(HEAD, text)
    local kind_at = at + w_len + st_len + A_len + R_len
    head = {
      s = s, l = l, h = h, x = x, y = y, v = v, a = a, z = z, t = t, o = o, w_len = w_len, st_len = st_len,
      A_len = A_len, R_len = R_len, kind_len = kind_len,
      w_end = at + w_len - 1,
      kind_at = kind_at,
      kind_end = kind_at + kind_len - 1,
      began = nil, -- as the record of a job that is started begins
      ended = {}, -- and that of one that succeeds, by the bytes of its result
    }
    heads[bytes] = head
  end
  return head
end

-- Accepts new jobs (`items` of `submit`), none of which was held before this call.
function plain.accept(u, queue, items, first)
  local item, count, total = items[first], 0, 0
  local kind, now = item.kind, u.now
  local jobs, bytes = room_for(u, queue, kind)
  if jobs <= 0 or not is_plain(u, kind) then
    return 0
  end
  local sublist = fair.line(queue, kind.sublist, kind)
  local note = sublists.touch(u, queue.name, kind.sublist)
  local ready_key = sublist == kind.sublist and note.key or sublists.key(u, queue.name, sublist)
  local rest_of, head_of = new_rests(u, sublist), new_heads(kind)
  local ready, all, kept, known = unit.adding(u, ready_key), unit.adding(u, unit.key(u, 'i')), u.kept, u.records
  local at, all_at, kept_at, is_fifo = #ready, #all, #kept, queue.discipline == 'fifo'
  local key, args_key, seq, place = unit.key(u, 'j:'), unit.key(u, 'arg:'), queue.seq, unit.next_place(u) - 1
  local text, priority, least = kind.text, kind.spec.priority, note.least
  while item and item.kind == kind and count < jobs do
    local id, A, x = item.id, item.args, #item.args
    local size = x + item.held
    if known[id] ~= nil or total + size > bytes then
      break
    end
    count, total, seq, place = count + 1, total + size, seq + 1, place + 1
    local head = head_of(x, size)
    if x > INLINE_BYTES then
      kept[kept_at + 1], kept[kept_at + 2], A = args_key .. id, A, ''
      kept_at = kept_at + 2
    end
    local record = head .. A .. text .. rest_of(place, seq)
    kept[kept_at + 1], kept[kept_at + 2], known[id] = key .. id, record, record
    kept_at = kept_at + 2
    local score = is_fifo and seq or sublists.score(queue, priority, seq, now)
    ready[at + 1], ready[at + 2], all[all_at + 1], all[all_at + 2] = num(score), id, num(place), id
    at, all_at = at + 2, all_at + 2
    if not least or score < least then
      least = score
    end
    item = items[first + count]
  end
  if count > 0 then
    note.head, note.least, unit.store(u).place = nil, least, place
    if queue.discipline == 'fair' then
      fair.enter(u, queue, sublist, count)
    end
    count_accepted(u, queue, kind, count, total)
  end
  return count
end

-- Starts jobs of a lane that were popped, and fetched.
function plain.start(u, lease, queue, ids, first)
  if events.are_heard(u) then
    return 0
  end
  local now, process, sub, known, quarantined = u.now, lease.process, string.sub, u.records, limits.quarantined(u)
  local running = unit.joining(u, unit.key(u, 'l:' .. process))
  local kept, key, told, taken = u.kept, unit.key(u, 'j:'), lease.told, lease.taken
  local kept_at, running_at, count, heads = #kept, #running, 0, {}
  local kind, spec, is_known
  for index = first, #ids do
    local id = ids[index]
    local text = known[id]
    if type(text) ~= 'string' then
      break
    end
    local head = head_of(heads, text)
    local own_kind = sub(text, head.kind_at, head.kind_end)
    if own_kind ~= kind then
      kind, spec = own_kind, specs.kind(u, own_kind).spec
      is_known = not quarantined[spec.type] and lease.knows(u, lease, spec.type)
    end
    if head.s ~= 'q' or head.a > 0 or head.t >= 0 or not is_known or (lease.lanes[spec.lane] or 0) <= 0 then
      break
    end
    if not head.began then
      head.began = struct.pack(HEAD, 'r', head.l, head.h, head.x, head.y, head.v + 1, 1, head.z, head.t, now, -1,
        #process, head.st_len, head.A_len, head.R_len, head.kind_len) .. process
    end
    local record = head.began .. sub(text, head.w_end + 1)
    count, known[id] = count + 1, record
    kept[kept_at + 1], kept[kept_at + 2] = key .. id, record
    kept_at = kept_at + 2
    running[running_at + count], taken[#taken + 1] = id, id
    if head.x > INLINE_BYTES then
      told[#told + 1] = { record, -1, unit.text(u, unit.key(u, 'arg:') .. id) or '', '', '' }
    else
      told[#told + 1] = record
    end
    lease.lanes[spec.lane] = lease.lanes[spec.lane] - 1
  end
  lease.wanted = lease.wanted - count
  queue.queued, queue.running, queue.started = queue.queued - count, queue.running + count, queue.started + count
  return count
end

local function count_succeeded(u, queue, caller, count, live_bytes, bytes, run_ms)
  local store = unit.store(u)
  -- Those that ended while all places of the queue were taken.
  u.readied = u.readied + math.max(0, math.min(count, queue.running - queue.workers + 1))
  queue.running = queue.running - count
  queue.ended, queue.runs, queue.run_ms = queue.ended + count, queue.runs + count, queue.run_ms + run_ms
  store.live, store.terminal = store.live - count, store.terminal + count
  store.live_bytes, store.bytes = store.live_bytes - live_bytes, store.bytes + bytes
  caller.live, caller.live_bytes, caller.changed = caller.live - count, caller.live_bytes - live_bytes, true
  caller.bytes = caller.bytes + bytes
end

-- What the successes of a kind change, once for a run; nil: its jobs go the long way.
local function run_of(u, kind_text, process)
  local kind = specs.kind(u, kind_text)
  local most_bytes = growth_for(u, kind)
  if kind.claims.value or not most_bytes or not limits.never_failed(u, kind.spec.type) then
    return nil
  end
  local caller = unit.caller(u, kind.caller)
  return {
    queue = unit.queue(u, kind.q),
    caller = caller,
    most_bytes = most_bytes,
    ends_at = u.now + (kind.spec.ttl_ms or unit.store(u).ttl_ms),
    left = unit.leaving(u, unit.key(u, 'l:' .. process)),
    expiring = unit.adding(u, unit.key(u, 'e')),
    ended = unit.adding(u, caller.ended),
  }
end

-- Files jobs that have succeeded: where their records expire, and among those of their caller.
local function file(u, run, ids)
  local left, expiring, ended, ends_at, now = run.left, run.expiring, run.ended, num(run.ends_at), num(u.now)
  local left_at, expiring_at, ended_at = #left, #expiring, #ended
  for index = 1, #ids do
    local id = ids[index]
    left[left_at + index] = id
    expiring[expiring_at + 2 * index - 1], expiring[expiring_at + 2 * index] = ends_at, id
    ended[ended_at + 2 * index - 1], ended[ended_at + 2 * index] = now, id
  end
end

-- Ends attempts that have succeeded (`args` of `ack`), and were fetched; adds to the reply.
function plain.succeed(u, args, first, most, reply)
  unit.store(u) -- its counts change in any case, and tell whether there are listeners
  if events.are_heard(u) then
    return 0
  end
  local now, process, sub, known, kept, key = u.now, args[1], string.sub, u.records, u.kept, unit.key(u, 'j:')
  local kept_at, reply_at, ids, live_bytes, bytes, run_ms = #kept, #reply, {}, 0, 0, 0
  local heads, kind, run, most_bytes = {}, nil, nil, nil
  for index = first, most do
    local id, result = args[3 * index], args[3 * index + 2]
    local text = known[id]
    if type(text) ~= 'string' then
      break
    end
    local head, y = head_of(heads, text), #result
    local own_kind, more = sub(text, head.kind_at, head.kind_end), y - head.x
    if not kind then
      kind, run = own_kind, run_of(u, own_kind, process)
      most_bytes = run and run.most_bytes
    end
    if not run or head.s ~= 'r' or head.l == 1 or head.st_len > 0 or own_kind ~= kind
      or sub(text, HEAD_BYTES + 1, head.w_end) ~= process or head.a ~= unit.small(args[3 * index + 1])
      or (more > 0 and bytes + more > most_bytes) then
      break
    end
    if head.x > INLINE_BYTES then
      u.texts[unit.key(u, 'arg:') .. id] = false
    end
    if y > INLINE_BYTES then
      kept[kept_at + 1], kept[kept_at + 2], result = unit.key(u, 'res:') .. id, result, ''
      kept_at = kept_at + 2
    end
    local begin = head.ended[y]
    if not begin then
      begin = struct.pack(HEAD, 's', 0, head.h, head.x, y, head.v + 1, head.a, head.z + more, head.t, head.o, now,
        head.w_len, 0, 0, #result, head.kind_len) .. process
      head.ended[y] = begin
    end
    local record = begin .. result .. sub(text, head.kind_at)
    kept[kept_at + 1], kept[kept_at + 2], known[id] = key .. id, record, record
    reply[reply_at + 1], reply[reply_at + 2], reply[reply_at + 3] = DONE, 's', head.v + 1
    kept_at, reply_at, ids[#ids + 1] = kept_at + 2, reply_at + 3, id
    live_bytes, bytes, run_ms = live_bytes + head.z, bytes + more, run_ms + math.max(0, now - head.o)
  end
  if #ids > 0 then
    file(u, run, ids)
    count_succeeded(u, run.queue, run.caller, #ids, live_bytes, bytes, run_ms)
  end
  return #ids
end
