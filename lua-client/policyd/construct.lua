--[[
Answers as kumod's objects.

    local ok, made = construct.make('egress_source', answer)

`ok` is false, with one line that says why, for an answer that kumod refuses:
an option that it is too old to know, a secret that this node has not got.
The answer is this caller's own; it may be changed.
]]
local kumo = require 'kumo'

local mod = {}
local makers = {}
mod.makers = makers

-- Pools and sources are looked at once after a bump, out of a cache that no
-- bump empties: so they have to be gone from it 250 ms after a change.
local TTL = '200ms'

function makers.listener_domain(answer)
  -- What handlers apply themselves; kumod does not know it.
  answer.relay_from_authz = nil
  return kumo.make_listener_domain(answer)
end

local function with_secrets(value, path)
  if type(value) ~= 'table' then
    return value
  end
  if type(value.secret) == 'string' and next(value, next(value)) == nil then
    local secret = require('policyd').CONFIGURED.secrets[value.secret]
    if not secret then
      error(
        string.format(
          "%s names the secret '%s', which is not in the secrets of policyd:setup on this node",
          path,
          value.secret
        ),
        0
      )
    end
    return secret
  end
  for key, inner in pairs(value) do
    value[key] = with_secrets(inner, key)
  end
  return value
end

function makers.egress_source(answer)
  local params = with_secrets(answer, 'egress_source')
  params.ttl = TTL
  return kumo.make_egress_source(params)
end

function makers.egress_pool(answer)
  answer.ttl = TTL
  if not answer.entries or #answer.entries == 0 then
    -- An empty Lua table may be an object to Rust, which wants a list here.
    answer.entries = nil
  end
  return kumo.make_egress_pool(answer)
end

function makers.queue(answer)
  return kumo.make_queue_config(answer.options)
end

-- The first line of an error, without the input that kumod embeds: that may
-- hold a secret, and be long.
function mod.reason(problem)
  local line = tostring(problem):gsub('\n.*', '')
  return line:gsub(', while processing.*', ''):sub(1, 300)
end

function mod.make(kind, answer)
  local maker = makers[kind]
  if not maker then
    return true
  end
  local ok, made = pcall(maker, answer)
  if ok then
    return true, made
  end
  return false, (mod.reason(made))
end

return mod
