-- Sublists: the ready jobs of a queue, in several sorted sets, so that none is looked at which may not start.
--
-- Rules:
--
-- 1. A ready job is in one sublist: that of its lane (`~`, `~thread`, `~process`) if its type has no limits, else that
--    of its type, or of its group where groups have limits (`groups`). A job of a type in quarantine, or without a
--    handler in the process that met it, is put aside into that of its type.
-- 2. `a:<queue>` has the sublists of which a job may start now, by the score of their first one. It is brought up to
--    date once at the end of a call, for those that the call has touched (`settle`).
-- 3. A score depends on the discipline, the job's priority, when it became ready, and its number; the number stays
--    with a job that is given back, and so does its place.
-- 4. After a change of discipline the sublists are set aside (`o:…`), and ticks sort them in again, a portion at a time.
--    Each change is a generation; `og` has those that have sublists left, with how many.
-- 5. In a fair queue a sublist has lines of groups in place of jobs, and its score is a turn (`fair`).

local sublists = {}

local LANES = { '~', '~thread', '~process' }
local LEVEL = 2 ^ 44

function sublists.is_lane(sublist)
  return string.sub(sublist, 1, 1) == '~'
end

function sublists.key(u, queue_name, sublist)
  return u.prefix .. 'r:' .. queue_name .. ':' .. sublist
end

function sublists.score(queue, priority, number, since)
  local discipline = queue.discipline
  if discipline == 'lifo' then
    return -number
  elseif discipline == 'priority' then
    if queue.aging_ms >= 0 then
      -- At equal instants the higher priority is first, then the lower number, as far as a double has digits for it.
      return ((since - priority * queue.aging_ms) * 16 + 9 - priority) * 128 + number % 128
    end
    return (9 - priority) * LEVEL + number
  end
  return number
end

-- Notes that a sublist has changed; returns the note. `head` is the score of its first job, false if it is empty, or
-- nil: to be read.
function sublists.touch(u, queue_name, sublist)
  local notes = u.sublists[queue_name]
  if not notes then
    notes = {}
    u.sublists[queue_name] = notes
  end
  local note = notes[sublist]
  if not note then
    local key = sublists.key(u, queue_name, sublist)
    note = { queue_name = queue_name, sublist = sublist, key = key, head = nil, least = nil, only_pushed = true }
    notes[sublist] = note
  end
  return note
end

function sublists.touch_wholly(u, queue_name, sublist)
  local note = sublists.touch(u, queue_name, sublist)
  note.only_pushed, note.head = false, nil
end

function sublists.note_head(u, queue_name, sublist, head)
  local note = sublists.touch(u, queue_name, sublist)
  note.only_pushed, note.head = false, head or false
end

-- Notes that groups have other turns in a sublist, or in a bundle (`groups`). `turns`: by name.
function sublists.touch_turns(u, queue_name, sublist, turns)
  local type_name, notes = groups.type_of(sublist), u.sublists[queue_name] or {}
  if not type_name then
    sublists.touch_wholly(u, queue_name, sublist)
    return
  end
  for name in pairs(turns) do
    if notes[sublist .. name] then
      sublists.touch_wholly(u, queue_name, sublist .. name)
    end
  end
  groups.touch_bundle(u, queue_name, type_name)
end

-- Puts a job at its place among the ready ones.
function sublists.push(u, queue, sublist, id, priority, number, since)
  local score = sublists.score(queue, priority, number, since)
  local note, key
  if queue.discipline == 'fair' then
    note, key = fair.enter(u, queue, sublist, 1)
  else
    note = sublists.touch(u, queue.name, sublist)
    key = note.key
  end
  unit.add(u, key, score, id)
  note.head = nil
  if not note.least or score < note.least then
    note.least = score
  end
  u.readied = u.readied + 1
end

function sublists.remove(u, queue_name, sublist, id)
  local removed = unit.remove(u, sublists.key(u, queue_name, sublist), id)
  if removed == 0 then
    for _, generation in ipairs(redis.call('HKEYS', u.prefix .. 'og')) do
      redis.call('ZREM', u.prefix .. 'o:' .. generation .. ':' .. queue_name .. ':' .. sublist, id)
    end
  end
  if fair.split(sublist) then
    fair.leave(u, queue_name, sublist, removed)
  else
    sublists.touch_wholly(u, queue_name, sublist)
  end
end

-- The score of the first job, or nil; of a fair queue, the turn of the first group.
function sublists.head(u, queue_name, sublist)
  local queue = unit.queue(u, queue_name)
  if queue.discipline == 'fair' then
    return fair.head(u, queue, sublist)
  end
  local first = redis.pcall('ZRANGE', unit.written(u, sublists.key(u, queue_name, sublist)), 0, 0, 'WITHSCORES')
  return tonumber(first[2])
end

local function settle_one(u, note)
  local queue_name, sublist = note.queue_name, note.sublist
  local active = u.prefix .. 'a:' .. queue_name
  if note.only_pushed and note.least and sublists.is_lane(sublist) then
    -- Its first job is the one of before, or one of these.
    unit.add_now(u, active, 'LT', num(note.least), sublist)
    return
  end
  local head = note.head
  if head == nil then
    head = sublists.head(u, queue_name, sublist)
  end
  if sublists.is_lane(sublist) then
    if head then
      unit.add_now(u, active, num(head), sublist)
    else
      redis.call('ZREM', active, sublist)
    end
    return
  elseif groups.split(sublist) then
    groups.place(u, queue_name, sublist, head)
    return
  end
  local queues_of_type, types_of_queue = u.prefix .. 'tq:' .. sublist, u.prefix .. 'qt:' .. queue_name
  if head then
    redis.call('SADD', queues_of_type, queue_name)
    redis.call('SADD', types_of_queue, sublist)
    u.gates[sublist] = true
  else
    redis.call('SREM', queues_of_type, queue_name)
    redis.call('SREM', types_of_queue, sublist)
  end
  if head and limits.room(u, limits.gate(u, sublist)) > 0 then
    unit.add_now(u, active, num(head), sublist)
  else
    redis.call('ZREM', active, sublist)
  end
end

-- Makes `a:` true again for all that the call has touched, and `t` for the types that time alone lets start.
function sublists.settle(u)
  for type_name in pairs(u.gates) do
    for _, queue_name in ipairs(redis.call('SMEMBERS', u.prefix .. 'tq:' .. type_name)) do
      local of_groups = groups.type_of(queue_name)
      if of_groups then
        groups.touch_bundle(u, of_groups, type_name)
      else
        sublists.touch_wholly(u, queue_name, type_name)
      end
    end
  end
  groups.touch_sublists(u)
  for _, notes in pairs(u.sublists) do
    for _, note in pairs(notes) do
      settle_one(u, note)
    end
  end
  groups.settle(u)
  for type_name in pairs(u.gates) do
    local at = limits.opens_at(u, limits.gate(u, type_name))
    if at and redis.call('EXISTS', u.prefix .. 'tq:' .. type_name) == 1 then
      redis.call('ZADD', u.prefix .. 't', num(at), type_name)
    else
      redis.call('ZREM', u.prefix .. 't', type_name)
    end
  end
  u.sublists, u.gates = {}, {}
end

-- Where a job that becomes ready in a queue goes: a type in quarantine has a sublist of its own.
function sublists.of_kind(u, queue, kind)
  local sublist, type_name = kind.sublist, kind.spec.type
  local is_shut = sublists.is_lane(sublist) and limits.quarantined(u)[type_name]
  return fair.line(queue, is_shut and type_name or sublist, kind)
end

-- How many jobs of a type are ready, but for those in lanes and in groups with limits.
function sublists.ready(u, queue, type_name)
  if queue.discipline == 'fair' then
    return fair.ready(u, queue.name, type_name)
  end
  local count = redis.pcall('ZCARD', unit.written(u, sublists.key(u, queue.name, type_name)))
  return tonumber(count) or 0 -- 0: another program has overwritten it
end

-- All sublists of a queue that have a job. `err`: another program has overwritten the key of those of types.
function sublists.of(u, queue_name)
  local found = redis.pcall('SMEMBERS', u.prefix .. 'qt:' .. queue_name)
  for _, lane in ipairs(LANES) do
    found[#found + 1] = lane
  end
  return found
end

-- The key of what is set aside under a name: jobs; of a bundle and of a ring, groups.
local function key_aside(u, queue_name, name)
  local type_name, sublist = groups.type_of(name), fair.sublist_of(name)
  return type_name and groups.all_key(u, queue_name, type_name) or sublist and fair.ring_key(u, queue_name, sublist)
    or unit.written(u, sublists.key(u, queue_name, name))
end

-- Sets the jobs of a sublist aside, to be sorted in by ticks; of a bundle (`groups`) and of a ring (`fair`), its groups,
-- whose jobs follow.
local function set_one_aside(u, generation, queue_name, sublist)
  local key = key_aside(u, queue_name, sublist)
  if redis.call('EXISTS', key) == 1 then
    local name, count = generation .. ':' .. queue_name .. ':' .. sublist, redis.call('ZCARD', key)
    redis.call('RENAME', key, u.prefix .. 'o:' .. name)
    redis.call('RPUSH', u.prefix .. 'resort', name)
    redis.call('HINCRBY', u.prefix .. 'og', generation, 1)
    if fair.split(sublist) then
      fair.leave(u, queue_name, sublist, count)
    elseif not groups.type_of(sublist) then
      sublists.touch_wholly(u, queue_name, fair.base(sublist))
    end
  end
end

local function next_generation(u)
  return num(redis.call('HINCRBY', u.prefix .. 'meta', 'resorts', 1))
end

-- After a change of discipline: sets all ready jobs of a queue aside.
function sublists.set_aside(u, queue)
  local generation = next_generation(u)
  for _, sublist in ipairs(sublists.of(u, queue.name)) do
    set_one_aside(u, generation, queue.name, sublist)
    set_one_aside(u, generation, queue.name, fair.ring(sublist))
  end
end

-- After a change of the limits of a type's groups: sets their ready jobs aside.
function sublists.set_groups_aside(u, type_name)
  for _, queue_name in ipairs(groups.queues(u, type_name)) do
    set_one_aside(u, next_generation(u), queue_name, groups.bundle(type_name))
  end
end

-- Sorts a portion of what was set aside first in again; returns how many steps it took.
local function sort_in_first(u, name, most)
  local generation, queue_name, sublist = string.match(name, '^(%d+):([^:]+):(.+)$')
  local key, of_groups = u.prefix .. 'o:' .. name, groups.type_of(sublist) or fair.sublist_of(sublist)
  local popped = redis.call('ZPOPMIN', key, most)
  local queue = unit.queue(u, queue_name)
  for index = 1, #popped, 2 do
    local job = not of_groups and records.get(u, popped[index])
    if of_groups then
      set_one_aside(u, generation, queue_name, sublist .. popped[index])
    elseif job and job.s == 'q' then -- a record that is gone, by a hand that is not ours, is forgotten
      local line = fair.line(queue, fair.base(sublist), job.kind)
      if line ~= job.b then
        job.b = line
        records.write(u, job)
      end
      sublists.push(u, queue, line, job.id, job.kind.spec.priority, job.sq, job.r)
    end
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('LPOP', u.prefix .. 'resort')
    if redis.call('HINCRBY', u.prefix .. 'og', generation, -1) <= 0 then
      redis.call('HDEL', u.prefix .. 'og', generation)
    end
  end
  return math.max(1, #popped / 2)
end

-- Sorts a portion in again; returns how many steps it took.
function sublists.sort_in(u, most)
  local left = most
  while left > 0 do
    local name = redis.call('LINDEX', u.prefix .. 'resort', 0)
    if not name then
      break
    end
    left = left - sort_in_first(u, name, left)
  end
  return most - left
end
