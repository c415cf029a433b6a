--[[
Private keys, each by its key_id: from memory, from the node store (seal.lua),
from the service.

    private_keys.is_known(signature)  -- of a signing plan; asks where it is not
    private_keys.read(domain, selector, key_id)  -- the event policyd.dkim_key

kumod keeps what the event gives it for as long as a signer lives; so a signer is
only made when the key is known, because kumod keeps a failure for a minute, too.
A key is never an argument of anything, and in no error.
]]
local kumo = require 'kumo'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'

local mod = {}

local function find(domain, selector, key_id)
  return lookup.raw(kinds.dkim_key(domain, selector, key_id))
end

function mod.is_known(signature)
  local found = find(signature.domain, signature.selector, signature.key_id)
  return found.status == 'found'
end

function mod.read(domain, selector, key_id)
  local found = find(domain, selector, key_id)
  local ok, answer = pcall(kumo.json_parse, found.answer)
  if not ok or answer.key_id ~= key_id then
    error(
      string.format(
        'policyd: the private key of %s, selector %s, is not known',
        domain,
        selector
      ),
      0
    )
  end
  return answer.key
end

-- Fetches what a signing plan needs, before anybody does.
function mod.prepare(plan)
  for _, signature in ipairs(plan.signatures) do
    if signature.key_id then
      mod.is_known(signature)
    end
  end
end

return mod
