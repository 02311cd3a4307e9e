-- Lease: the next jobs for a process, by the order of queues, scores and lanes.
--
-- Rules:
--
-- 1. Only a live process leases: what a dead one took would never come back.
-- 2. Each start has a place of its lane in the process, a place of its queue, and a permit of its type and its group.
-- 3. A job that may not start now is put aside where the next lease doesn't meet it; at most `LOOKS_MAX` are met.
-- 4. A process numbers its leases. The same number again means a reply that was lost: it gets the same jobs again.
-- 5. Keys that another program has overwritten are read as empty: an error would lose what was popped of other queues.

local LOOKS_MAX = 128
local SUBLISTS_MAX = 64

local function put_aside(u, queue, job, sublist)
  local spec, line = job.kind.spec, fair.line(queue, sublist, job.kind)
  records.whole(job).b = line
  records.write(u, job)
  redis.call('HSETNX', u.prefix .. 'g:' .. spec.type, 'lane', spec.lane)
  sublists.push(u, queue, line, job.id, spec.priority, job.sq, job.r)
end

local function knows(u, lease, type_name)
  local known = lease.known[type_name]
  if known == nil then
    -- A process that named no types runs all.
    known = lease.knows_all or redis.call('SISMEMBER', u.prefix .. 'y:' .. lease.process, type_name) == 1
    lease.known[type_name] = known
  end
  return known
end

-- Starts a job that was popped, or deals with it otherwise.
local function start(u, lease, queue, sublist, id)
  local job = records.brief(u, id)
  if not job or job.s ~= 'q' then
    return
  end
  local spec = job.kind.spec
  if job.t and u.now >= job.t and job.a == 0 then
    transitions.finish(u, records.whole(job), 'x')
    records.write(u, job)
    return
  end
  local by_lane = sublists.is_lane(sublist)
  if by_lane and (limits.quarantined(u)[spec.type] or not knows(u, lease, spec.type)) then
    put_aside(u, queue, job, spec.type)
    return
  elseif (lease.lanes[spec.lane] or 0) <= 0 then
    -- Only where processes have a type in different lanes: it stays where it is, and this lease has no more of it.
    lease.known[spec.type] = false
    put_aside(u, queue, job, by_lane and spec.type or sublist)
    return
  end
  if not by_lane then
    local gate = limits.gate(u, spec.type)
    job.a = job.a + 1
    limits.enter(u, gate, transitions.attempt_name(job))
    job.a = job.a - 1
    job.l = true
    if groups.split(sublist) then
      groups.enter(u, sublist)
    end
  end
  transitions.to_running(u, job, lease.process)
  lease.lanes[spec.lane] = lease.lanes[spec.lane] - 1
  lease.wanted = lease.wanted - 1
  lease.taken[#lease.taken + 1] = id
  lease.told[#lease.told + 1] = records.told(u, job, records.write_text(u, job), -1)
end

local function start_all(u, lease, queue, sublist, ids)
  local index = 1
  while index <= #ids do
    local count = sublists.is_lane(sublist) and plain.start(u, lease, queue, ids, index) or 0
    if count == 0 then
      start(u, lease, queue, sublist, ids[index])
      count = 1
    end
    lease.looks, index = lease.looks + count, index + count
  end
end

-- How many jobs of a sublist may start now in this process, as far as lane and type tell.
local function room_of(u, lease, sublist)
  if sublists.is_lane(sublist) then
    return lease.lanes[string.sub(sublist, 2)] or 0
  end
  local type_name = groups.type_of(sublist) or sublist
  if not knows(u, lease, type_name) then
    return 0
  end
  local gate = limits.gate(u, type_name)
  return math.min(lease.lanes[gate.lane or ''] or 0, limits.room(u, gate))
end

local function candidates(u, lease, queue)
  local found = {}
  local active = redis.pcall('ZRANGE', u.prefix .. 'a:' .. queue.name, 0, SUBLISTS_MAX - 1, 'WITHSCORES')
  for index = 1, #active, 2 do
    if room_of(u, lease, active[index]) > 0 then
      found[#found + 1] = { sublist = active[index], score = tonumber(active[index + 1]) }
    end
  end
  return found
end

local function first_of(found)
  local best = 1
  for index = 2, #found do
    if found[index].score < found[best].score then
      best = index
    end
  end
  return best
end

-- Takes jobs out of a sublist. Returns their ids.
local function pop(u, queue, sublist, count)
  if queue.discipline == 'fair' then
    return fair.pop(u, queue, sublist, count)
  end
  local popped = redis.pcall('ZPOPMIN', unit.written(u, sublists.key(u, queue.name, sublist)), count)
  local ids = {}
  for index = 1, #popped, 2 do
    ids[#ids + 1] = popped[index]
  end
  return ids
end

-- Takes jobs out of a sublist and starts them. Returns the score of the next one; false: there is none.
local function take(u, lease, queue, sublist, count)
  local ids = pop(u, queue, sublist, count)
  sublists.touch(u, queue.name, sublist)
  records.fetch(u, ids)
  start_all(u, lease, queue, sublist, ids)
  -- Nothing goes back to a lane by a lease, so where fewer came than were asked for, it is empty.
  local is_empty = #ids == 0 or (#ids < count and sublists.is_lane(sublist))
  local score = not is_empty and sublists.head(u, queue.name, sublist)
  sublists.note_head(u, queue.name, sublist, score)
  return score
end

-- Takes the next job of the groups of a type. Returns the score of the one after it; nil: there is none.
local function take_grouped(u, lease, queue, type_name)
  local sublist, head = groups.first(u, queue.name, type_name)
  if sublist then
    if limits.room(u, groups.gate(u, sublist)) > 0 then
      head = take(u, lease, queue, sublist, 1)
    else
      lease.looks = lease.looks + 1 -- its limits were changed, and it is not sorted in again yet
    end
    groups.place(u, queue.name, sublist, head)
  end
  local _, score = groups.first(u, queue.name, type_name)
  return score
end

-- Brings scores up to date: in a fair queue, the turn of a group in one sublist is its turn in the others.
local function follow_turns(u, queue, found)
  for _, each in ipairs(queue.moved and found or {}) do
    if queue.moved[each.sublist] then
      local type_name = groups.type_of(each.sublist)
      local _, first = groups.first(u, queue.name, type_name or '')
      each.score = type_name and first or sublists.head(u, queue.name, each.sublist) or each.score
    end
  end
  queue.moved = nil
end

local function take_from(u, lease, queue)
  local found = candidates(u, lease, queue)
  if queue.discipline == 'fair' and #found > 0 then
    fair.end_turn(u, queue)
  end
  while #found > 0 and lease.wanted > 0 and queue.running < queue.workers and lease.looks < LOOKS_MAX do
    follow_turns(u, queue, found)
    local best = first_of(found)
    local sublist = found[best].sublist
    local room = math.min(room_of(u, lease, sublist), lease.wanted, queue.workers - queue.running)
    -- Alone it is popped in one go; beside others one by one, since another's first job may be the next. There is no
    -- room where the last place of its lane went to another one.
    local type_name, score = groups.type_of(sublist), nil
    if room > 0 and type_name then
      score = take_grouped(u, lease, queue, type_name)
    elseif room > 0 then
      score = take(u, lease, queue, sublist, #found == 1 and room or 1)
    end
    if score and room_of(u, lease, sublist) > 0 then
      found[best].score = score
    else
      table.remove(found, best)
    end
  end
end

-- The jobs of a lease whose reply was lost, as far as the process still holds them: one that it gave back is its own
-- again only by a later lease, and of such ones nothing is asked here.
local function again(u, reply, process, text)
  for id in string.gmatch(text, '%S+') do
    local job = records.brief(u, id)
    if job and job.s == 'r' and job.w == process then
      reply[#reply + 1], reply[#reply + 2] = id, records.told(u, job, records.text(job), -1)
    end
  end
end

function api.lease(keys, args)
  local u = unit.begin(keys)
  local process, number = args[1], args[2]
  local wanted = unit.number(args[3], 'the number of jobs', 0, JOBS_MAX)
  local lanes_count = unit.number(args[4], 'the number of lanes', 0, 16)
  local record = u.prefix .. 'p:' .. process
  local known = redis.call('HMGET', record, 'run', 'dead', 'lease', 'leased', 'all', 'idle')
  if not known[1] or known[2] then
    return { u.now, 0, 0, -1 }
  end
  local reply = { u.now, 1, 0, -1 }
  if number ~= '0' and known[3] == number then
    again(u, reply, process, known[4])
    return reply
  end
  local of = { process = process, wanted = wanted, lanes = {}, known = {}, taken = {}, told = {}, looks = 0 }
  of.knows, of.knows_all = knows, known[5] == '1'
  for index = 1, lanes_count do
    of.lanes[args[3 + 2 * index]] = unit.number(args[4 + 2 * index], 'the places of a lane', 0, 2 ^ 30)
  end
  local left = 0
  for index = 5 + 2 * lanes_count, #args do
    local queue = unit.queue(u, args[index])
    if queue.known and queue.paused_at < 0 then
      if of.wanted > 0 then
        take_from(u, of, queue)
      end
      left = left + math.max(0, math.min(queue.queued, queue.workers - queue.running))
    end
  end
  unit.finish(u)
  local is_idle = of.wanted > 0
  for index = 1, #of.taken do
    reply[3 + 2 * index], reply[4 + 2 * index] = of.taken[index], of.told[index]
  end
  redis.call('HSET', record, 'lease', number, 'leased', table.concat(of.taken, ' '), 'idle', is_idle and '1' or '0')
  if is_idle then
    redis.call('SADD', u.prefix .. 'idle', process) -- even if it was idle before: this lease may have woken it
  else
    reply[3] = left
    if known[6] == '1' then
      redis.call('SREM', u.prefix .. 'idle', process) -- else a busy process would be woken in place of an idle one
    end
  end
  return reply
end
