-- The draw: some members of a set, where a call takes only a portion.

local draw = {}

-- At most `count` members, any of them.
function draw.some(_, key, count)
  return redis.call('SRANDMEMBER', key, count)
end
