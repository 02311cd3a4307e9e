-- Fair: the order of a queue in which groups take turns, each turn a job.
--
-- Rules:
--
-- 1. A group is what an owner's jobs of one group name are; those without a name are one more. In a fair queue the
--    ready jobs of a group in a sublist are a set of their own, called its line: `<sublist>\1<owner>\0<name>`.
-- 2. `fr:<queue>:<sublist>` is the ring of a sublist: its groups with a ready job by the number of their turn. The first
--    one starts a job and goes to the end. A group that has its first job enters at the end; one without jobs leaves.
-- 3. Turns are numbered as the queue's jobs are. The score of a sublist is the turn of its first group, so that
--    sublists take turns as their groups do. A group has one turn in a queue, which stands in all rings that have it:
--    jobs in several lanes, and of several types with limits, start no sooner than those in one.
-- 4. The group of the latest turn (`last` of the queue) moves to the end again when the next turn comes: one that
--    enters in between is before it.
-- 5. A group with limits has a sublist already (`groups`), which is its line; its turn is its score among the groups
--    of its type.
-- 6. A job that is given back has its place in its line again, by its number.
-- 7. `fn:<queue>` counts the jobs in the lines of each type with a sublist: nothing else would tell how many wait.

local fair = {}

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

-- The sorted sets of a queue that have turns, by sublist: rings, and those of groups with limits. They are looked up once
-- in a call.
local function rings(u, queue)
  if not queue.rings then
    queue.rings = {}
    for _, sublist in ipairs(sublists.of(u, queue.name)) do
      local type_name = groups.type_of(sublist)
      if type_name then
        queue.rings[sublist] = groups.turn_keys(u, queue.name, type_name)
      else
        local key = fair.ring_key(u, queue.name, sublist)
        queue.rings[sublist] = redis.call('EXISTS', key) == 1 and { key } or nil
      end
    end
  end
  return queue.rings
end

-- The turn of a group in a queue; nil: it has no ready job.
local function turn_of(u, queue, name)
  for _, keys in pairs(rings(u, queue)) do
    local turn = tonumber(redis.pcall('ZSCORE', keys[1], name))
    if turn then
      return turn
    end
  end
end

-- Gives groups new turns, in all rings that have them, but for one that another program has overwritten. `turns`: by
-- name.
local function move(u, queue, turns)
  local changes = {}
  for name, turn in pairs(turns) do
    changes[#changes + 1], changes[#changes + 2] = num(turn), name
  end
  for sublist, keys in pairs(rings(u, queue)) do
    local moved = 0
    for _, key in ipairs(keys) do
      moved = moved + (tonumber(redis.pcall('ZADD', key, 'XX', 'CH', unpack(changes))) or 0)
    end
    if moved > 0 then
      queue.moved = queue.moved or {}
      queue.moved[sublist] = true
      sublists.touch_turns(u, queue.name, sublist, turns)
    end
  end
end

-- Gives the groups that start jobs their next turns. `name`: that of the latest turn.
local function take_turns(u, queue, turns, name)
  if name then
    move(u, queue, turns)
    redis.call('HSET', u.prefix .. 'q:' .. queue.name, 'last', num(turns[name]) .. ' ' .. name)
  end
end

-- Ends the latest turn, before the next one: its group is behind those that have entered since.
function fair.end_turn(u, queue)
  local text = redis.call('HGET', u.prefix .. 'q:' .. queue.name, 'last')
  local turn, name = string.match(text or '', '^(%d+) (.+)$')
  if name and tonumber(turn) < queue.seq and turn_of(u, queue, name) == tonumber(turn) then
    take_turns(u, queue, { [name] = next_turn(queue) }, name)
  end
end

-- Has the group of a line in its ring, and notes that so many jobs are added to the line. Returns the note of its
-- sublist, and the key of the line.
function fair.enter(u, queue, line, count)
  local sublist, name = fair.split(line)
  local key = sublists.key(u, queue.name, line)
  u.lines = u.lines or {}
  if sublist and not u.lines[key] then
    local ring, all = fair.ring_key(u, queue.name, sublist), rings(u, queue)
    unit.add_now(u, ring, 'NX', num(turn_of(u, queue, name) or next_turn(queue)), name)
    u.lines[key], all[sublist] = true, { ring }
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
local function turn_of_limited(u, queue, sublist)
  if redis.call('EXISTS', unit.written(u, sublists.key(u, queue.name, sublist))) == 0 then
    return nil
  end
  local type_name, name = groups.split(sublist)
  local turn = turn_of(u, queue, name) or next_turn(queue)
  queue.rings[groups.bundle(type_name)] = groups.turn_keys(u, queue.name, type_name)
  return turn
end

-- The turn of the group that is next in a sublist; nil: it has no ready job.
function fair.head(u, queue, sublist)
  if groups.split(sublist) then
    return turn_of_limited(u, queue, sublist)
  end
  local first = redis.pcall('ZRANGE', fair.ring_key(u, queue.name, sublist), 0, 0, 'WITHSCORES')
  return tonumber(first[2])
end

local function pop_of_group(u, queue, sublist)
  local _, name = groups.split(sublist)
  local popped = redis.call('ZPOPMIN', unit.written(u, sublists.key(u, queue.name, sublist)))
  take_turns(u, queue, { [name] = next_turn(queue) }, name)
  return { popped[1] }
end

-- Takes the jobs of the next turns of a sublist, `count` at most. Returns their ids.
function fair.pop(u, queue, sublist, count)
  if groups.split(sublist) then
    return pop_of_group(u, queue, sublist)
  end
  local ids, at, turns = {}, 1, {}
  local names = redis.pcall('ZRANGE', fair.ring_key(u, queue.name, sublist), 0, count - 1)
  while #ids < count and at <= #names do
    local name = names[at]
    local line = fair.ring(sublist) .. name
    local key = sublists.key(u, queue.name, line)
    local popped = redis.pcall('ZPOPMIN', unit.written(u, key))
    ids[#ids + 1], turns[name] = popped[1], next_turn(queue)
    count_ready(u, queue.name, line, -#popped / 2)
    if popped.err or redis.call('EXISTS', key) == 0 then
      leave_ring(u, queue.name, sublist, name, key)
    else
      names[#names + 1] = name
    end
    at = at + 1
  end
  take_turns(u, queue, turns, names[at - 1])
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
