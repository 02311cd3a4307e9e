-- Fair: the order of a queue in which groups take turns, each turn a job.
--
-- Rules:
--
-- 1. A group is what an owner's jobs of one group name are; those without a name are one more. In a fair queue the
--    ready jobs of a group in a sublist are a set of their own, called its line: `<sublist>\1<owner>\0<name>`.
-- 2. `fr:<queue>:<sublist>` is the ring of a sublist: its groups with a ready job by the number of their turn. The first
--    one starts a job and goes to the end. A group that has its first job enters at the end; one without jobs leaves.
-- 3. Turns are numbered as the queue's jobs are. The score of a sublist is the turn of its first group, so that
--    sublists take turns as their groups do, and a ring that is shut for a while has lost nothing.
-- 4. The group of the latest turn moves to the end when the next turn comes: one that enters in between is before it.
--    Until then its turn ends with a half.
-- 5. A group with limits has a sublist already (`groups`), which is its line; its turn is its score among the groups
--    of its type.
-- 6. A job that is given back has its place in its line again, by its number.
-- 7. `fn:<queue>` counts the jobs in the lines of each type with a sublist: nothing else would tell how many wait.

local fair = {}

local HALF = 0.5

-- The sublist and the group of a line; nil: it is none.
function fair.split(line)
  return string.match(line, '^([^%z\1]+)\1(.+)$')
end

-- The name of the ring of a sublist, where one of a sublist is expected.
function fair.ring(sublist)
  return sublist .. '\1'
end

-- The sublist of a ring; nil: it is none.
function fair.sublist_of(ring)
  return string.match(ring, '^([^%z\1]+)\1$')
end

-- The sublist that a line or a ring is of; any other one is itself.
function fair.base(name)
  return string.match(name, '^([^%z\1]+)\1') or name
end

function fair.ring_key(u, queue_name, sublist)
  return u.prefix .. 'fr:' .. queue_name .. ':' .. sublist
end

-- Where a job of a kind is in a sublist of a queue: its group's line, or the sublist itself.
function fair.line(queue, sublist, kind)
  if queue.discipline ~= 'fair' or groups.split(sublist) then
    return sublist
  end
  return sublist .. '\1' .. groups.name(kind.claims.owner, kind.spec.group or '')
end

local function next_turn(queue)
  queue.seq = queue.seq + 1
  return queue.seq
end

-- Adds to the number of jobs in the lines of a type.
local function count_ready(u, queue_name, line, more)
  local sublist = fair.split(line)
  if sublist and more ~= 0 and not sublists.is_lane(sublist) then
    local key = u.prefix .. 'fn:' .. queue_name
    if redis.call('HINCRBY', key, sublist, num(more)) <= 0 then
      redis.call('HDEL', key, sublist)
    end
  end
end

-- How many jobs are in the lines of a type.
function fair.ready(u, queue_name, type_name)
  return tonumber(redis.call('HGET', u.prefix .. 'fn:' .. queue_name, type_name) or 0)
end

-- Has the group of a line in its ring, and notes that so many jobs are added to the line. Returns the note of its
-- sublist, and the key of the line.
function fair.enter(u, queue, line, count)
  local sublist, name = fair.split(line)
  local key = sublists.key(u, queue.name, line)
  u.lines = u.lines or {}
  if sublist and not u.lines[key] then
    unit.add_now(u, fair.ring_key(u, queue.name, sublist), 'NX', num(next_turn(queue)), name)
    u.lines[key] = true
  end
  count_ready(u, queue.name, line, count)
  local note = sublists.touch(u, queue.name, sublist or line)
  note.only_pushed = false -- the turn of a group tells its place, and not the number of a job
  return note, key
end

local function leave_ring(u, queue_name, sublist, name, key)
  redis.call('ZREM', fair.ring_key(u, queue_name, sublist), name)
  if u.lines then
    u.lines[key] = nil
  end
end

-- Notes that so many jobs were taken out of a line: without any, its group leaves the ring.
function fair.leave(u, queue_name, line, count)
  local sublist, name = fair.split(line)
  local key = sublists.key(u, queue_name, line)
  count_ready(u, queue_name, line, -count)
  if redis.call('EXISTS', unit.written(u, key)) == 0 then
    leave_ring(u, queue_name, sublist, name, key)
  end
  sublists.touch_wholly(u, queue_name, sublist)
end

-- The turn of a group with limits; nil: it has no ready job.
local function turn_of_group(u, queue, sublist)
  if redis.call('EXISTS', unit.written(u, sublists.key(u, queue.name, sublist))) == 0 then
    return nil
  end
  local type_name, name = groups.split(sublist)
  local turn = redis.call('ZSCORE', groups.all_key(u, queue.name, type_name), name)
  return turn and tonumber(turn) or next_turn(queue)
end

-- The turn of the group that is next in a sublist; nil: it has no ready job.
function fair.head(u, queue, sublist)
  if groups.split(sublist) then
    return turn_of_group(u, queue, sublist)
  end
  local first = redis.pcall('ZRANGE', fair.ring_key(u, queue.name, sublist), 0, 1, 'WITHSCORES')
  local turn = tonumber(first[2])
  if turn and turn % 1 > 0 then
    turn = tonumber(first[4]) or math.floor(turn)
  end
  return turn
end

local function pop_of_group(u, queue, sublist)
  local type_name, name = groups.split(sublist)
  local popped = redis.call('ZPOPMIN', unit.written(u, sublists.key(u, queue.name, sublist)))
  redis.call('ZADD', groups.all_key(u, queue.name, type_name), 'XX', num(next_turn(queue)), name)
  return { popped[1] }
end

-- The groups of a ring that may have the next turns: their names in order, and their turns by name.
local function first_groups(key, count)
  local found, names, turns = redis.pcall('ZRANGE', key, 0, count, 'WITHSCORES'), {}, {}
  for index = 1, #found, 2 do
    names[#names + 1], turns[found[index]] = found[index], tonumber(found[index + 1])
  end
  return names, turns
end

local function write_turns(key, turns)
  local changes = {}
  for name, turn in pairs(turns) do
    changes[#changes + 1], changes[#changes + 2] = string.format('%.1f', turn), name
  end
  if #changes > 0 then
    redis.call('ZADD', key, unpack(changes))
  end
end

-- Takes the jobs of the next turns of a sublist, `count` at most. Returns their ids.
function fair.pop(u, queue, sublist, count)
  if groups.split(sublist) then
    return pop_of_group(u, queue, sublist)
  end
  local ring, ids, at, changed = fair.ring_key(u, queue.name, sublist), {}, 1, {}
  local names, turns = first_groups(ring, count)
  while #ids < count and at <= #names do
    local name = names[at]
    if turns[name] % 1 > 0 then
      names[#names + 1], turns[name], at = name, next_turn(queue), at + 1
      changed[name], name = turns[name], names[at]
    end
    local line = fair.ring(sublist) .. name
    local key = sublists.key(u, queue.name, line)
    local popped = redis.pcall('ZPOPMIN', unit.written(u, key))
    ids[#ids + 1] = popped[1]
    count_ready(u, queue.name, line, -#popped / 2)
    if popped.err or redis.call('EXISTS', key) == 0 then
      leave_ring(u, queue.name, sublist, name, key)
      changed[name], at = nil, at + 1
    else
      -- Alone it has a new turn: an old one would put its sublist before all others.
      turns[name] = (at == #names and next_turn(queue) or turns[name]) + HALF
      changed[name] = turns[name]
    end
  end
  write_turns(ring, changed)
  return ids
end

-- A position that assumes as many jobs of each other group before each of its own. `own`: that in its line.
function fair.position(u, job, own)
  local sublist = fair.split(job.b)
  if not sublist then
    return own
  end
  u.queues = u.queues or {}
  local count = redis.call('ZCARD', fair.ring_key(u, job.kind.q, sublist))
  return math.max(own, math.min(own * count, unit.queue(u, job.kind.q).queued))
end

-- The lines of some groups of a sublist: those that are next. `err`: another program has overwritten the ring.
function fair.some(u, queue_name, sublist, most)
  local found = redis.pcall('ZRANGE', fair.ring_key(u, queue_name, sublist), 0, most - 1)
  for index = 1, #found do
    found[index] = fair.ring(sublist) .. found[index]
  end
  return found
end
