-- Events: a stream for the servers that listen, written only while one does (`ev_until`).

local events = {}

-- Whether a server listens. Where the counts of the store were not read, a key that ends by itself tells it for less.
function events.are_heard(u)
  if u.heard == nil and u.store then
    u.heard = u.store.ev_until > u.now
  elseif u.heard == nil then
    u.heard = redis.call('EXISTS', u.prefix .. 'ev:on') == 1
  end
  return u.heard
end

function events.add(u, pairs_of_event)
  if events.are_heard(u) then
    redis.call('XADD', u.prefix .. 'ev', 'MAXLEN', '~', unit.store(u).ev_maxlen, clock.entry(u), unpack(pairs_of_event))
  end
end

-- An event of a job, with what tells its readers whether it concerns them.
function events.of_job(u, name, job, more, value)
  if events.are_heard(u) then
    local owner = job.kind.claims.owner or ''
    local pairs_of_event = {
      'e', name, 'i', job.id, 's', job.s, 'a', num(job.a), 'v', num(job.v), 'q', job.kind.q, 'S', job.kind.S,
      'o', owner,
    }
    if more then
      pairs_of_event[#pairs_of_event + 1], pairs_of_event[#pairs_of_event + 2] = more, value
    end
    events.add(u, pairs_of_event)
  end
end

local EVENTS_MAX = 200

-- Prolongs the listening, and returns what came after an id. A listening that begins anew begins with an empty stream,
-- so a gap is never bridged: `first` is the earliest id after which a replay is whole.
function api.events(keys, args)
  local u = unit.begin(keys)
  local ttl = unit.number(args[1], 'ttl_ms', 1, 2 ^ 40)
  local most = unit.number(args[3], 'the number of events', 0, EVENTS_MAX)
  local meta, stream = u.prefix .. 'meta', u.prefix .. 'ev'
  local store = unit.store(u)
  if store.ev_until <= u.now then
    redis.call('DEL', stream)
    redis.call('HSET', meta, 'ev_from', num(u.now - 1)) -- an entry of this millisecond is after it
  end
  if u.now + ttl > store.ev_until then
    store.ev_until = u.now + ttl
    unit.write_bounds(u)
    redis.call('SET', u.prefix .. 'ev:on', '1', 'PX', ttl)
    redis.call('PEXPIRE', stream, ttl) -- its entries are of no use to a later listening
  end
  local first = redis.call('HGET', meta, 'ev_from') .. '-0'
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last and redis.call('XLEN', stream) >= store.ev_maxlen then
    first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1] -- older ones may have been cut off
  end
  local reply = { u.now, first, last and last[1] or '0-0' }
  if args[2] ~= '' and most > 0 then
    for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. args[2], '+', 'COUNT', most)) do
      reply[#reply + 1], reply[#reply + 2] = entry[1], entry[2]
    end
  end
  return reply
end
