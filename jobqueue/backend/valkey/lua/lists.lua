-- Lists: records by id, and pages of those that match. They change nothing.
--
-- A page looks at a bounded number of records, and says where the next one begins. Places are distinct and grow from
-- one submission to the next, so a place is a cursor, and one record's place means "after it".

local REPLY_BYTES_MAX = 1048576
local SCAN_MAX = 500

-- Records that a page reads by one command.
local READ_MAX = 100

-- The first numbers of a record (`records`).
local FRONT = '<c1BI4I4i4'

local function position_of(u, job)
  local rank = job.s == 'q' and redis.call('ZRANK', sublists.key(u, job.kind.q, job.b), job.id)
  return rank and fair.position(u, job, rank + 1) or -1
end

-- A record as a reply has it: its text alone, unless it is to be whole.
local function told(u, id, text, whole)
  if not whole then
    return text
  end
  local s, _, h, x, y = struct.unpack(FRONT, text)
  if s ~= 'q' and h == 0 and x <= INLINE_BYTES and y <= INLINE_BYTES then
    return text
  end
  local job = records.read(u, id, text)
  return records.told(u, job, text, position_of(u, job))
end

-- The bytes that a record takes in a reply, about.
local function size_of(record)
  if type(record) == 'string' then
    return #record
  end
  return #record[1] + #record[3] + #record[4] + #record[5]
end

function api.look(keys, args)
  local u = unit.reading(keys)
  local whole, reply, bytes, ids = args[1] == '1', { u.now }, 0, {}
  for index = 2, math.min(#args, JOBS_MAX + 1) do
    ids[index - 1] = args[index]
  end
  local texts = records.texts(u, ids, 1, #ids)
  for index = 1, #ids do
    local record = texts[index] and told(u, ids[index], texts[index], whole)
    reply[index + 1] = record
    if record then
      bytes = bytes + size_of(record)
      if bytes > REPLY_BYTES_MAX then
        break
      end
    else
      overwritten.refuse(records.key(u, ids[index]))
    end
  end
  return reply
end

function api.find(keys, args)
  local u = unit.reading(keys)
  local caller = args[1] ~= '' and args[1] or nil
  local id = uniqueness.under_key(u, specs.key_name({ caller = caller, key = args[2] }))
  return { u.now, id or '' }
end

local function matches(u, filter, job)
  if (filter.state ~= '' and job.s ~= filter.state) or (filter.queue ~= '' and job.kind.q ~= filter.queue)
    or (filter.prefix ~= '' and string.sub(job.id, 1, #filter.prefix) ~= filter.prefix) then
    return false
  end
  if filter.type ~= '' or filter.group ~= '' then
    local spec = job.kind.spec
    if (filter.type ~= '' and spec.type ~= filter.type) or (filter.group ~= '' and spec.group ~= filter.group) then
      return false
    end
  end
  if filter.owner ~= '' and job.kind.claims.owner ~= filter.owner then
    return false
  end
  if filter.error ~= '' and (job.E == '' or cmsgpack.unpack(job.E)[1] ~= filter.error) then
    return false
  end
  return (filter.from < 0 or job.c >= filter.from) and (filter.before < 0 or job.c < filter.before)
end

-- The next ids beyond a cursor, and their places.
local function portion(u, filter, cursor, oldest_first, count)
  local key = u.prefix .. (filter.state == 'f' and 'f' or 'i')
  local found
  if oldest_first then
    local from = cursor ~= '' and '(' .. cursor or (filter.from >= 0 and num(filter.from * 2048) or '-inf')
    found = redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  else
    local from = cursor ~= '' and '(' .. cursor or '+inf'
    found = redis.call('ZREVRANGEBYSCORE', key, from, '-inf', 'WITHSCORES', 'LIMIT', 0, count)
  end
  local ids, places = {}, {}
  for index = 1, #found, 2 do
    ids[(index + 1) / 2], places[(index + 1) / 2] = found[index], found[index + 1]
  end
  return ids, places
end

-- Whether no later record can match: they are in order of their creation.
local function is_beyond(filter, created, oldest_first)
  if oldest_first then
    return filter.before >= 0 and created >= filter.before
  end
  return filter.from >= 0 and created < filter.from
end

function api.page(keys, args)
  local u = unit.reading(keys)
  local filter = {
    state = args[1], queue = args[2], type = args[3], group = args[4], owner = args[5], error = args[6],
    prefix = args[7], from = tonumber(args[8]), before = tonumber(args[9]),
  }
  local cursor, oldest_first, whole = args[10], args[11] == '1', args[14] == '1'
  local limit = unit.number(args[12], 'limit', 1, SCAN_MAX)
  local scan = unit.number(args[13], 'scan', 1, SCAN_MAX)
  local reply, bytes, looked, found = { u.now, '', 0 }, 0, 0, 0
  local ids, places = portion(u, filter, cursor, oldest_first, scan + 1)
  local next_cursor, texts = '', {}
  for index = 1, #ids do
    if looked == scan or found == limit or bytes > REPLY_BYTES_MAX then
      next_cursor = cursor
      break
    end
    local at = (index - 1) % READ_MAX
    if at == 0 then
      texts = records.texts(u, ids, index, math.min(#ids, index + READ_MAX - 1))
    end
    looked, cursor = looked + 1, places[index]
    local id, text = ids[index], texts[at + 1]
    local job = text and records.read(u, id, text)
    if job and is_beyond(filter, job.c, oldest_first) then
      break
    elseif job and matches(u, filter, job) then
      local record = told(u, id, text, whole)
      found = found + 1
      reply[2 + 2 * found], reply[3 + 2 * found] = id, record
      bytes = bytes + size_of(record)
    end
  end
  reply[2], reply[3] = next_cursor ~= '' and num(tonumber(next_cursor)) or '', looked
  return reply
end
