-- Specs and claims: the parts of a job that are packed, as far as the store has to read them.
--
-- Both are MessagePack arrays that clients make, and may be longer than what is read here. Jobs of the same options
-- share the bytes, so each distinct text is unpacked once in a call.

local specs = {}
local NO_CLAIMS = {}

local KIND = '<I2I4I4'

-- Kinds that many calls meet, by their texts: to unpack one takes longer than all else that a call does for a job. A
-- kind never changes, so that no call depends on another. Where bodies are loaded as scripts, each call has its own.
local lasting, lasting_count = {}, 0
local LASTING_MAX = 256
local LASTING_BYTES_MAX = 512

function specs.spec(u, packed)
  local spec = u.specs[packed]
  if not spec then
    local values = cmsgpack.unpack(packed)
    spec = {
      type = values[1],
      lane = values[2],
      priority = values[4],
      delay_ms = values[5],
      run_at = values[6],
      start_by_ms = values[7],
      ttl_ms = values[8],
      attempts_max = values[9],
      group = values[10],
      -- 1: its type has limits; 2: its group has, and its type may have some.
      limited = values[3],
    }
    u.specs[packed] = spec
  end
  return spec
end

function specs.claims(u, packed)
  if packed == '' or not packed then
    return NO_CLAIMS
  end
  local claims = u.claims[packed]
  if not claims then
    local values = cmsgpack.unpack(packed)
    claims = {
      caller = values[1],
      owner = values[2],
      key = values[3],
      fingerprint = values[4],
      value = values[5],
      mode = values[6],
      jobs_max = values[7],
      records_max = values[8],
      bytes_max = values[9],
    }
    u.claims[packed] = claims
  end
  return claims
end

-- Where the jobs of a kind wait: those of types without limits together, by lane; a type with limits by itself, a group
-- with limits too. No type has a ~ in its name.
local function sublist_of(spec, claims)
  if spec.limited == 2 then
    return groups.sublist(spec.type, claims.owner, spec.group)
  end
  return spec.limited == 1 and spec.type or '~' .. (spec.lane or '')
end

-- The field of a unique value: it belongs to an owner and a type.
function specs.value_name(spec, claims)
  return (claims.owner and '=' .. claims.owner or '') .. '\0' .. spec.type .. '\0' .. claims.value
end

function specs.key_name(claims)
  return (claims.caller and '=' .. claims.caller or '') .. '\0' .. claims.key
end

local function keep(kind)
  local claims = kind.claims
  if claims.key or claims.value or kind.spec.run_at or #kind.text > LASTING_BYTES_MAX then
    return -- it is of one job
  end
  if lasting_count == LASTING_MAX then
    lasting, lasting_count = {}, 0
  end
  lasting[kind.text], lasting_count = kind, lasting_count + 1
end

-- A kind: what jobs of one caller and of the same options share.
function specs.kind(u, text)
  local kind = lasting[text] or u.kinds[text]
  if not kind then
    local q_len, S_len, C_len, at = struct.unpack(KIND, text)
    local S_at = at + q_len
    local C_at = S_at + S_len
    local S, C = string.sub(text, S_at, C_at - 1), string.sub(text, C_at, C_at + C_len - 1)
    local spec, claims = specs.spec(u, S), specs.claims(u, C)
    kind = {
      text = text,
      q = string.sub(text, at, S_at - 1),
      S = S,
      C = C,
      spec = spec,
      claims = claims,
      caller = claims.caller or '',
      sublist = sublist_of(spec, claims),
    }
    u.kinds[text] = kind
    keep(kind)
  end
  return kind
end

-- Raises an error unless both can be read, and have what is needed.
local function check(u, packed_spec, packed_claims)
  if u.specs[packed_spec] and (packed_claims == '' or u.claims[packed_claims]) then
    return -- they were checked
  end
  local read, spec = pcall(specs.spec, u, packed_spec)
  local good = read and type(spec.type) == 'string' and type(spec.lane) == 'string' and type(spec.priority) == 'number'
    and type(spec.delay_ms) == 'number' and type(spec.attempts_max) == 'number'
    and (spec.limited ~= 2 or type(spec.group) == 'string')
    and pcall(specs.claims, u, packed_claims)
  if not good then
    error({ err = 'ERR jobqueue: a spec or claims are not the MessagePack arrays that this version reads' })
  end
end

-- The kind of a submission to a queue. Raises an error unless it can be read.
function specs.kind_of(u, queue, S, C)
  local kinds = queue.kinds[S]
  if not kinds then
    kinds = {}
    queue.kinds[S] = kinds
  end
  local kind = kinds[C]
  if not kind then
    local text = struct.pack(KIND, #queue.name, #S, #C) .. queue.name .. S .. C
    if not lasting[text] then
      check(u, S, C)
    end
    kind = specs.kind(u, text)
    kinds[C] = kind
  end
  return kind
end
