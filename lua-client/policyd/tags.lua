--[[
Documents and their tags: policy/tags.py of the service, and the wildcards of
policy/names.py, once more.

    tags.chain 'a.example.com'          --> { 'a.example.com', '*.example.com', '*.com', '*' }
    tags.tag('egress_pool', '*', 'a/b') --> 'egress_pool/*/a%2Fb'
    tags.parts 'egress_pool/*/a%2Fb'    --> { '*', 'a/b' }
]]
local mod = {}
local LONGEST_DOMAIN = 253

-- Kinds of documents whose names this node keeps.
mod.NAMED = {
  'listener_domain',
  'egress_source',
  'egress_pool',
  'tenant',
  'queue_settings',
  'queue',
  'webhook',
  'dkim_domain',
  'dkim_signature',
}
-- Those that what kumod has built hangs on: it looks again when the config
-- epoch is bumped.
mod.BUILT = {
  egress_source = true,
  egress_pool = true,
  tenant = true,
  queue_settings = true,
  queue = true,
}

local function can_be_row(name)
  if #name > LONGEST_DOMAIN or name == '' then
    return false
  end
  for label in (name:gsub('^%*%.', '') .. '.'):gmatch '([^.]*)%.' do
    if #label > 63 or not label:find '^[%l%d_-]+$' then
      return false
    end
  end
  return true
end

-- The row names that could answer for a domain, nearest first.
function mod.chain(name)
  local chain = {}
  if can_be_row(name) then
    table.insert(chain, name)
  end
  local parent = name:gsub('^%*%.', '')
  while parent:find('.', 1, true) do
    parent = parent:match '%.(.*)$'
    if can_be_row('*.' .. parent) then
      table.insert(chain, '*.' .. parent)
    end
  end
  table.insert(chain, '*')
  return chain
end

local function escaped(part)
  if part:find '[%%/]' then
    part = part:gsub('%%', '%%25'):gsub('/', '%%2F')
  end
  return part
end

function mod.tag(kind, ...)
  local tag = kind
  for _, part in ipairs { ... } do
    tag = tag .. '/' .. escaped(part)
  end
  return tag
end

-- What stands for every tag of a kind that is a prefix of others: whether there
-- is any is asked by it.
function mod.any(kind)
  return kind .. '/'
end

-- The unescaped parts of a tag, without its kind.
function mod.parts(written)
  local parts = {}
  for part in written:gmatch '/([^/]*)' do
    table.insert(parts, (part:gsub('%%2F', '/'):gsub('%%25', '%%')))
  end
  return parts
end

return mod
