-- The draw of the tests' variant: at one instant the same members of the same set, so that a run of the model repeats.

local draw = {}

-- At most `count` members, as the instant settles.
function draw.some(u, key, count)
  local members, drawn = redis.call('SMEMBERS', key), {}
  table.sort(members)
  math.randomseed(u.now)
  for index = 1, math.min(count, #members) do
    local other = math.random(index, #members)
    drawn[index], members[other] = members[other], members[index]
  end
  return drawn
end
