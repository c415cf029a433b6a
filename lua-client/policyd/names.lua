--[[
Names as they are asked for, and the paths that they are asked by:
policy/names.py of the service, once more (tags.lua has the rest).

    names.domain 'Foo_Bar.EXAMPLE.net.'  --> 'foo_bar.example.net'
    names.path('/tenant/', 'acme')       --> '/tenant/acme'
]]
local mod = {}
local LONGEST_NAME = 255
-- The names of rows hold neither of these, so these name nobody's row.
mod.NOBODY = '!'

-- Lower case, and no trailing dot. What is not ASCII is left to the service,
-- which knows its A-labels; kumod gives those for envelope addresses anyway.
function mod.domain(asked)
  if
    type(asked) ~= 'string'
    or #asked > 1000
    or asked:find '%c'
    or not utf8.len(asked)
  then
    return ''
  end
  local name = asked:lower()
  if name:sub(-1) == '.' and name:sub(-2) ~= '..' then
    name = name:sub(1, -2)
  end
  return name
end

function mod.is_foreign(domain)
  return domain:find '[\128-\255]' ~= nil
end

-- A tenant's or campaign's name as asked for: nil for none, NOBODY for what
-- cannot be a row. Those that hold @, : or ! would not survive in the name of
-- a queue either.
function mod.label(asked)
  if asked == nil or asked == '' then
    return nil
  end
  local usable = type(asked) == 'string'
    and #asked <= LONGEST_NAME
    and utf8.len(asked)
    and not asked:find '[%c@:!]'
  return usable and asked or mod.NOBODY
end

local function percent(character)
  return string.format('%%%02X', character:byte())
end

function mod.quoted(text)
  if text:find '[^%w%-._~*:]' then
    text = text:gsub('[^%w%-._~*:]', percent)
  end
  return text
end

-- The address of `192.0.2.1:25` or `[2001:db8::1]:25`.
function mod.address(peer)
  return peer:match '^%[(.-)%]:%d+$' or peer:match '^(.-):%d+$'
end

-- The canonical path of a lookup: equal questions have equal paths, here and
-- at the service. Parameters are given as name, value, name, value.
function mod.path(segment, key, ...)
  local path = segment .. mod.quoted(key)
  local mark = '?'
  for i = 1, select('#', ...), 2 do
    local name, value = select(i, ...)
    if value then
      path = path .. mark .. name .. '=' .. mod.quoted(value)
      mark = '&'
    end
  end
  return path
end

return mod
