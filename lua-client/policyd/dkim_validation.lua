--[[
What `kumod --validate` checks of signing: that every plan can be carried out
with the keys that there are, by this kumod and with this token.
]]
local client = require 'policyd.client'
local kinds = require 'policyd.kinds'
local names = require 'policyd.names'
local signing = require 'policyd.signing'
local validation = require 'policyd.validation'

local mod = {}
-- Each key is asked for by itself; those of the first so many domains tell what
-- is wrong with a token or a connection.
local MOST_KEYS = 100

-- The plan of each domain that has a block. A wildcard signs for domains that
-- are not known here, and there may be a key for each.
local function each_plan(each)
  validation.documents('dkim_domain', function(parts)
    if parts[1]:sub(1, 1) ~= '*' then
      return names.path('/dkim/', parts[1])
    end
  end, function(answer, parts)
    each(answer, parts[1])
  end)
end

-- Signatures by domain, as helpers show what they know.
function mod.signatures()
  local data = { domain = {} }
  each_plan(function(answer, domain)
    data.domain[domain] = answer.signatures
  end)
  return data
end

local function check_signature(domain, signature)
  local signer, problem = signing.signer_of(signature)
  if not signer then
    validation.fail(
      string.format(
        'dkim %s: selector %s of %s: %s',
        domain,
        signature.selector,
        signature.domain,
        problem
      )
    )
  end
end

-- A token may be good for some domains only, and this is none of them.
local NOBODYS_KEY = '/dkim/nobody.invalid/nobodys'

local function note_scope()
  for _, each in ipairs(client.each(NOBODYS_KEY)) do
    if not each.got and each.problem:find('status 403', 1, true) then
      print(
        'policyd: (not counted) nothing signs yet, and a token without the '
          .. 'scope dkim could not; if its domains are restricted, all is well'
      )
    end
  end
end

local function check_plans()
  local seen, keys = {}, 0
  local function check(plan, domain)
    for _, signature in ipairs(plan.signatures) do
      local key_id = signature.key_id
      local name = signature.domain .. ' ' .. signature.selector
      if not seen[name] and (not key_id or keys < MOST_KEYS) then
        seen[name] = true
        keys = keys + (key_id and 1 or 0)
        check_signature(domain, signature)
      end
    end
  end
  each_plan(check)
  -- What signs for a domain without a block.
  local found = require('policyd.lookup').ask(kinds.dkim(names.NOBODY))
  if found.status == 'found' then
    check(found.answer, '(any other)')
  end
  if next(seen) == nil then
    note_scope()
  end
end

function mod.check()
  validation.refuse_both 'dkim_sign'
  validation.check_store_key 'a kumod that is restarted during an outage cannot sign'
  validation.checking('dkim', check_plans)
end

return mod
