-- Foreign values: keys of ours that another program has overwritten with a value of another type.

local foreign = {}

local FIXED = {
  meta = 'hash', k = 'hash', u = 'hash', c = 'hash', og = 'hash', queues = 'set', types = 'set', shut = 'set',
  failing = 'set', idle = 'set', t = 'zset', tg = 'zset', d = 'zset', s = 'zset', e = 'zset', pz = 'zset', i = 'zset',
  f = 'zset', cr = 'zset', procs = 'zset', dying = 'zset', resort = 'list', lost = 'list', ev = 'stream',
}
local OF_QUEUE = { ['q:'] = 'hash', ['a:'] = 'zset', ['qt:'] = 'set' }
local OF_TYPE = { ['g:'] = 'hash', ['tq:'] = 'set' }

local function note(u, found, name, right)
  local is = redis.call('TYPE', u.prefix .. name).ok
  if is ~= right and is ~= 'none' then
    found[#found + 1], found[#found + 2], found[#found + 3] = u.prefix .. name, is, right
  end
end

-- Those of the whole store, of each queue and of each type: key, its type, and the right one. Keys of single jobs,
-- groups and processes are not looked at: there may be a million.
function foreign.found(u)
  local found = {}
  for name, right in pairs(FIXED) do
    note(u, found, name, right)
  end
  for names, kinds in pairs({ queues = OF_QUEUE, types = OF_TYPE }) do
    local is_ours = redis.call('TYPE', u.prefix .. names).ok == 'set'
    for _, name in ipairs(is_ours and redis.call('SMEMBERS', u.prefix .. names) or {}) do
      for kind, right in pairs(kinds) do
        note(u, found, kind .. name, right)
      end
    end
  end
  return found
end

-- Fails as a command does that meets a foreign value, where a key that was read as if it were empty has one.
function foreign.refuse(key)
  if redis.call('EXISTS', key) == 1 then
    error({ err = 'WRONGTYPE ' .. key .. ' holds the wrong kind of value' })
  end
end

function api.foreign(keys, _)
  local u = unit.reading(keys)
  return { u.now, foreign.found(u) }
end
