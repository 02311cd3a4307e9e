-- The clock of the tests' variant: an instant that the test sets, else the store's own.

local clock = {}

-- Microseconds since the epoch.
function clock.us(prefix)
  local set = redis.call('GET', prefix .. 'test_now_ms')
  if set then
    return tonumber(set) * 1000
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The id of a new entry of a stream, at the instant that the test has set.
function clock.entry(u)
  return redis.call('EXISTS', u.prefix .. 'test_now_ms') == 1 and string.format('%.0f-*', u.now) or '*'
end
