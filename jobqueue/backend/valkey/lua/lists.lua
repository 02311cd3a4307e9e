-- Lists: records by id, and pages of those that match. They change nothing.
--
-- A page looks at a bounded number of records, and says where the next one begins. Places are distinct and grow from
-- one submission to the next, so a place is a cursor, and one record's place means "after it".

local REPLY_BYTES_MAX = 1048576
local SCAN_MAX = 500

local BRIEF_TEXTS = { 's', 'q', 'st', 'S', 'C', 'P', 'E' }
local BRIEF_NUMBERS = { 'v', 'a', 'n', 'i', 'c', 'd', 't', 'r', 'o', 'f' }
local BRIEF_FIELDS = joined(BRIEF_TEXTS, BRIEF_NUMBERS)
local WHOLE_FIELDS = joined(BRIEF_FIELDS, { 'x', 'y', 'A', 'R', 'H', 'b' })

local function position_of(u, values, id, sublist)
  if values[1] ~= 'q' or not sublist then
    return -1
  end
  local rank = redis.call('ZRANK', sublists.key(u, values[2], sublist), id)
  return rank and rank + 1 or -1
end

-- The values of a record; nil if there is none.
local function values_of(u, id, whole)
  local values = redis.call('HMGET', records.key(u, id), unpack(whole and WHOLE_FIELDS or BRIEF_FIELDS))
  return values[1] and values or nil
end

-- A record as a reply has it.
local function record_of(id, values)
  return {
    id, values[1], tonumber(values[8]), tonumber(values[9]), tonumber(values[10]) or 0, values[2],
    tonumber(values[11]), tonumber(values[12]), tonumber(values[13]), tonumber(values[14]) or -1,
    tonumber(values[15]) or -1, tonumber(values[16]) or -1, tonumber(values[17]) or -1, values[3] or '',
    values[4], values[5] or '', values[6] or '', values[7] or '',
  }
end

-- Adds arguments, result, history and position.
local function complete(u, id, record, values)
  local at = #BRIEF_FIELDS
  local result_bytes = tonumber(values[at + 2])
  local arguments = records.args(u, id, values[at + 3] or nil, tonumber(values[at + 1]))
  local result = values[at + 4] or ''
  if result_bytes and result_bytes > INLINE_BYTES then
    result = redis.call('GET', u.prefix .. 'res:' .. id) or ''
  end
  record[19], record[20], record[21] = arguments, result_bytes and 1 or 0, result
  record[22], record[23] = values[at + 5] or '', position_of(u, values, id, values[at + 6] or nil)
end

-- The bytes that a record takes in a reply, about.
local function size_of(record)
  local bytes = 200
  for _, at in ipairs({ 15, 16, 17, 18, 19, 21, 22 }) do
    bytes = bytes + #(record[at] or '')
  end
  return bytes
end

local function read(u, id, whole)
  local values = values_of(u, id, whole)
  if not values then
    return nil
  end
  local record = record_of(id, values)
  if whole then
    complete(u, id, record, values)
  end
  return record
end

function api.look(keys, args)
  local u = unit.begin(keys)
  local whole, reply, bytes = args[1] == '1', { u.now }, 0
  for index = 2, math.min(#args, JOBS_MAX + 1) do
    local record = read(u, args[index], whole)
    reply[index] = record or false
    if whole and record then
      bytes = bytes + size_of(record)
      if bytes > REPLY_BYTES_MAX then
        break
      end
    end
  end
  return reply
end

function api.find(keys, args)
  local u = unit.begin(keys)
  local caller = args[1] ~= '' and args[1] or nil
  local id = uniqueness.under_key(u, specs.key_name({ caller = caller, key = args[2] }))
  return { u.now, id or '' }
end

local function matches(u, filter, record)
  if (filter.state ~= '' and record[2] ~= filter.state) or (filter.queue ~= '' and record[6] ~= filter.queue)
    or (filter.prefix ~= '' and string.sub(record[1], 1, #filter.prefix) ~= filter.prefix) then
    return false
  end
  if filter.type ~= '' or filter.group ~= '' then
    local spec = specs.spec(u, record[15])
    if (filter.type ~= '' and spec.type ~= filter.type) or (filter.group ~= '' and spec.group ~= filter.group) then
      return false
    end
  end
  if filter.owner ~= '' and specs.claims(u, record[16]).owner ~= filter.owner then
    return false
  end
  if filter.error ~= '' and (record[18] == '' or cmsgpack.unpack(record[18])[1] ~= filter.error) then
    return false
  end
  local created = record[8]
  return (filter.from < 0 or created >= filter.from) and (filter.before < 0 or created < filter.before)
end

-- The next ids beyond a cursor, with their places.
local function portion(u, filter, cursor, oldest_first, count)
  local key = u.prefix .. (filter.state == 'f' and 'f' or 'i')
  if oldest_first then
    local from = cursor ~= '' and '(' .. cursor or (filter.from >= 0 and num(filter.from * 2048) or '-inf')
    return redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  end
  local from = cursor ~= '' and '(' .. cursor or '+inf'
  return redis.call('ZREVRANGEBYSCORE', key, from, '-inf', 'WITHSCORES', 'LIMIT', 0, count)
end

-- Whether no later record can match: they are in order of their creation.
local function is_beyond(filter, created, oldest_first)
  if oldest_first then
    return filter.before >= 0 and created >= filter.before
  end
  return filter.from >= 0 and created < filter.from
end

function api.page(keys, args)
  local u = unit.begin(keys)
  local filter = {
    state = args[1], queue = args[2], type = args[3], group = args[4], owner = args[5], error = args[6],
    prefix = args[7], from = tonumber(args[8]), before = tonumber(args[9]),
  }
  local cursor, oldest_first, whole = args[10], args[11] == '1', args[14] == '1'
  local limit = unit.number(args[12], 'limit', 1, SCAN_MAX)
  local scan = unit.number(args[13], 'scan', 1, SCAN_MAX)
  local reply, bytes, looked = { u.now, '', 0 }, 0, 0
  local ids = portion(u, filter, cursor, oldest_first, scan + 1)
  local next_cursor = ''
  for index = 1, #ids, 2 do
    if looked == scan or #reply - 3 == limit or bytes > REPLY_BYTES_MAX then
      next_cursor = cursor
      break
    end
    looked, cursor = looked + 1, ids[index + 1]
    local record = read(u, ids[index], whole)
    if record and is_beyond(filter, record[8], oldest_first) then
      break
    elseif record and matches(u, filter, record) then
      reply[#reply + 1] = record
      bytes = bytes + size_of(record)
    end
  end
  reply[2], reply[3] = next_cursor ~= '' and num(tonumber(next_cursor)) or '', looked
  return reply
end
