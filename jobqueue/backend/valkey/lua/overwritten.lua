-- Overwritten keys: those of ours that another program has given a value of another type.

local overwritten = {}

local FIXED = {
  meta = 'hash', k = 'hash', u = 'hash', c = 'hash', og = 'hash', queues = 'set', types = 'set', shut = 'set',
  failing = 'set', idle = 'set', t = 'zset', tg = 'zset', d = 'zset', s = 'zset', e = 'zset', pz = 'zset', i = 'zset',
  f = 'zset', cr = 'zset', procs = 'zset', dying = 'zset', resort = 'list', lost = 'list', ev = 'stream',
}
local OF_QUEUE = { ['q:'] = 'hash', ['a:'] = 'zset', ['qt:'] = 'set', ['fn:'] = 'hash' }
local OF_TYPE = { ['g:'] = 'hash', ['tq:'] = 'set' }
-- Of a lane or a type in a queue.
local OF_SUBLIST = { ['r:'] = 'zset', ['fr:'] = 'zset', ['ga:'] = 'zset', ['go:'] = 'zset', ['gn:'] = 'hash' }
-- Keys that one call looks at, at most, beside those of the whole store.
local KEYS_MAX = 10000

local function note(u, found, name, right)
  local is = redis.call('TYPE', u.prefix .. name).ok
  if is ~= right and is ~= 'none' then
    found[#found + 1], found[#found + 2], found[#found + 3] = u.prefix .. name, is, right
  end
end

local function note_all(u, found, kinds, name)
  for kind, right in pairs(kinds) do
    if found.left > 0 then
      found.left = found.left - 1
      note(u, found, kind .. name, right)
    end
  end
end

-- The names in a set; none where that was overwritten.
local function names_in(u, key)
  local names = redis.pcall('SMEMBERS', u.prefix .. key)
  return names.err and {} or names
end

-- Those of the whole store, of each queue, of each type, and of each queue's lanes and types: key, its type, and the
-- right one. Keys of single jobs, groups, callers and processes are not looked at: there may be a million.
function overwritten.found(u)
  local found, types = { left = KEYS_MAX }, names_in(u, 'types')
  for name, right in pairs(FIXED) do
    note(u, found, name, right)
  end
  for _, type_name in ipairs(types) do
    note_all(u, found, OF_TYPE, type_name)
  end
  for _, queue_name in ipairs(names_in(u, 'queues')) do
    note_all(u, found, OF_QUEUE, queue_name)
    for _, names in ipairs({ sublists.of(u, queue_name), types }) do
      for _, sublist in ipairs(names) do
        note_all(u, found, OF_SUBLIST, queue_name .. ':' .. sublist)
      end
    end
  end
  found.left = nil
  return found
end

-- Fails as a command does that meets such a key, where a key that was read as if it were empty has a value.
function overwritten.refuse(key)
  if redis.call('EXISTS', key) == 1 then
    error({ err = 'WRONGTYPE ' .. key .. ' holds the wrong kind of value' })
  end
end

function api.overwritten(keys, _)
  local u = unit.reading(keys)
  return { u.now, overwritten.found(u) }
end
