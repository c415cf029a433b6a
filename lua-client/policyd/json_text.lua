--[[
JSON text, taken apart without being read.

An answer is kept as the text that the service wrote, because a list that is
empty does not survive kumo.json_encode(kumo.json_parse(text)), and an empty
`require_authz` (nobody) must not become none (anybody).

    mod.members '{"tags":[],"answer":{"a":1}}'  --> { tags = '[]', answer = '{"a":1}' }
    mod.elements '[1,{"b":2}]'                  --> { '1', '{"b":2}' }

Both give nil for text that is cut or is something else; whether a member is
well-formed is for kumo.json_parse to say.
]]
local kumo = require 'kumo'

local mod = {}
local QUOTE, BACKSLASH = ('"'):byte(), ('\\'):byte()
local OPENS = { [('{'):byte()] = true, [('['):byte()] = true }

local function after_string(text, at)
  at = at + 1
  while true do
    local found = text:find('["\\]', at)
    if not found then
      return nil
    end
    if text:byte(found) ~= BACKSLASH then
      return found + 1
    end
    at = found + 2
  end
end

local function after_nested(text, at)
  local depth = 0
  while at do
    local found = text:find('[%[%]{}"]', at)
    local byte = found and text:byte(found)
    if not byte then
      return nil
    elseif byte == QUOTE then
      at = after_string(text, found)
    else
      depth = depth + (OPENS[byte] and 1 or -1)
      at = found + 1
      if depth == 0 then
        return at
      end
    end
  end
end

-- Where the value that begins at `at` ends.
local function after_value(text, at)
  local byte = text:byte(at)
  if byte == QUOTE then
    return after_string(text, at)
  elseif OPENS[byte] then
    return after_nested(text, at)
  end
  return text:match('^[%w%.+-]+()', at)
end

-- Calls `item(text, at)` for each item between two brackets; it gives back
-- where the item ends.
local function between(text, opening, closing, item)
  local at = text:match('^%s*' .. opening .. '%s*()')
  if not at then
    return false
  end
  if text:match('^' .. closing .. '%s*$', at) then
    return true
  end
  while true do
    at = item(at)
    local comma = at and text:match('^%s*,%s*()', at)
    if not comma then
      return at ~= nil and text:match('^%s*' .. closing .. '%s*$', at) ~= nil
    end
    at = comma
  end
end

function mod.members(text)
  local members = {}
  local whole = between(text, '{', '}', function(at)
    local key_ends = text:byte(at) == QUOTE and after_string(text, at)
    local from = key_ends and text:match('^%s*:%s*()', key_ends)
    local to = from and after_value(text, from)
    if to then
      local key = text:sub(at, key_ends - 1)
      members[kumo.json_parse(key)] = text:sub(from, to - 1)
    end
    return to
  end)
  return whole and members or nil
end

function mod.elements(text)
  local elements = {}
  local whole = between(text, '%[', '%]', function(at)
    local to = after_value(text, at)
    if to then
      table.insert(elements, text:sub(at, to - 1))
    end
    return to
  end)
  return whole and elements or nil
end

return mod
