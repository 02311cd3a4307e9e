-- The clock: the store's own, so that no two processes need agree on the time.

local clock = {}

-- Microseconds since the epoch.
function clock.us(_)
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The id of a new entry of a stream: the store's own choice, which never goes back.
function clock.entry(_)
  return '*'
end
