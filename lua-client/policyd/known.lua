--[[
The one rule: when an answer may be used, given what its holder knows to have
changed. It is policy/validity.py of the service, and the statement in
store.lua, once more.

An answer is `{label, tags, valid_until}`. Known changes are
`{number, begins, tags = {tag = revision}, floors = {kind = revision}}`: all
that changed after revision `begins`, up to `number` (changes.lua learns them).

    known.outdated(answer, changes)  -- nil while it holds, else the revision to ask anew from
    known.expired(answer, os.time())
]]
local mod = {}

function mod.kind_of(tag)
  return tag:match '^[^/]*'
end

-- Number and stamp of a written position; nil for anything else.
function mod.position(text)
  if type(text) ~= 'string' then
    return nil
  end
  local number, stamp = text:match '^(%d+)%-([%da-f]+)$'
  if number and #stamp == 8 then
    return math.tointeger(tonumber(number)), stamp
  end
end

-- A position as one integer, for a counter; nil if it does not fit.
function mod.packed(number, stamp)
  return number >> 31 == 0 and number << 32 | tonumber(stamp, 16) or nil
end

-- Its number, and the position as written.
function mod.unpacked(packed)
  local number = packed >> 32
  return number, string.format('%d-%08x', number, packed & 0xffffffff)
end

-- The revision that an answer would have to be at least as new as; nil while
-- it is as good as it can be. `valid_until` is another matter: see expired.
function mod.outdated(answer, known)
  local label = answer.label
  if label >= known.number then
    return nil
  end
  local newest = label < known.begins and known.begins or 0
  local tags, floors, has_floors = known.tags, known.floors, known.has_floors
  for _, tag in ipairs(answer.tags) do
    local revision = tags[tag]
    if revision and revision > label and revision > newest then
      newest = revision
    end
    local floor = has_floors and floors[mod.kind_of(tag)]
    if floor and floor > label and floor > newest then
      newest = floor
    end
  end
  return newest > 0 and newest or nil
end

function mod.expired(answer, now)
  local valid_until = answer.valid_until
  return valid_until ~= nil and now >= valid_until
end

return mod
