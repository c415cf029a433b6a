--[[
What the signer of policyd.dkim_sign does with a message.

    signing.sign(msg)    -- at reception; puts off or parks what cannot be signed
    signing.finish(msg)  -- later: false while it still cannot

All signers are made before the first one signs.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local marks = require 'policyd.marks'
local parking = require 'policyd.parking'
local pending = require 'policyd.pending'
local private_keys = require 'policyd.private_keys'
local report = require 'policyd.report'

local mod = {}
local UNAVAILABLE =
  '4.7.5 the DKIM signatures of this message cannot be made now, try again later'
local DAYS = 7
local TTL = DAYS .. ' days'

-- What of a signature is not for kumod.
local OURS = { algorithm = true, key_id = true, key_problem = true }

local function params_of(signature)
  local params = {}
  for name, value in pairs(signature) do
    if not OURS[name] then
      params[name] = value
    end
  end
  -- Another key has another key_id, and so another signer: nothing has to
  -- expire.
  params.ttl = TTL
  params.key = {
    event_name = 'policyd.dkim_key',
    event_args = { signature.domain, signature.selector, signature.key_id },
  }
  return params
end

local MAKERS = {
  sha256 = 'rsa_sha256_signer',
  ed25519 = 'ed25519_signer',
}

-- A signer, or nil and why there is none.
function mod.signer_of(signature)
  if not signature.key_id then
    return nil, 'its key is ' .. (signature.key_problem or 'not known')
  end
  local make = kumo.dkim[MAKERS[signature.algorithm] or '']
  if not make then
    return nil, 'its algorithm is not known here'
  end
  local name = table.concat({
    signature.domain,
    signature.selector,
    signature.key_id,
  }, ' ')
  -- What kumod keeps needs no key any more.
  local now = os.time()
  local is_kept = now < marks.ends('signer', name)
  if not is_kept and not private_keys.is_known(signature) then
    return nil, 'its key cannot be had'
  end
  local ok, signer = pcall(make, params_of(signature))
  if ok ~= is_kept then
    marks.set('signer', name, ok and now + DAYS * 86400 or 0)
  end
  if not ok then
    return nil, 'kumod refuses it: ' .. construct.reason(signer)
  end
  return signer
end

local function report_unsigned(signature, problem)
  report.trouble(
    'dkim',
    string.format(
      'mail cannot be signed for %s, selector %s: %s',
      signature.domain,
      signature.selector,
      problem
    )
  )
end

-- All signers of a plan, and whether none is missing.
local function signers_of(plan)
  local signers, is_whole = {}, true
  for _, signature in ipairs(plan.signatures) do
    local signer, problem = mod.signer_of(signature)
    if signer then
      table.insert(signers, signer)
    else
      is_whole = false
      report_unsigned(signature, problem)
    end
  end
  return signers, is_whole
end

local NO_FROM = '5.6.0 DKIM signing requires a From header, '
  .. 'but it is missing from this message'
local ODD_FROM =
  '5.6.0 DKIM signing requires a From header with exactly one address'

local function from_domain(msg)
  local ok, domain = pcall(function()
    local from = msg:from_header()
    return from and from.domain or false
  end)
  if not ok then
    kumo.reject(552, ODD_FROM)
  elseif not domain then
    kumo.reject(552, NO_FROM)
  end
  return domain
end

-- Where one of several fails, the next attempt goes on after those before it.
local function apply(msg, signers)
  local from = (msg:get_meta 'policyd_signed' or 0) + 1
  for i = from, #signers do
    local ok, problem = pcall(msg.dkim_sign, msg, signers[i])
    if not ok then
      msg:set_meta('policyd_signed', i - 1)
      report.trouble(
        'dkim',
        'a message cannot be signed: ' .. construct.reason(problem)
      )
      return false
    end
  end
  return true
end

local function is_unsigned_allowed()
  return require('policyd').CONFIGURED.on_unknown == 'unsigned'
end

local function attempt(msg)
  local found = lookup.ask(kinds.dkim(from_domain(msg)))
  if found.status == 'none' then
    return true
  elseif found.status == 'unknown' then
    return is_unsigned_allowed()
  end
  local signers, is_whole = signers_of(found.answer)
  return (is_whole or is_unsigned_allowed())
    and (apply(msg, signers) or is_unsigned_allowed())
end

-- Whether it is done; a permanent objection is raised.
function mod.finish(msg)
  local ok, done = pcall(attempt, msg)
  if ok then
    return done
  elseif parking.is_rejection(done) then
    error(done, 0)
  end
  report.trouble('dkim', 'signing failed: ' .. construct.reason(done))
  return is_unsigned_allowed()
end

function mod.sign(msg)
  local is_parked = pending.is_parked(msg)
  if not is_parked and mod.finish(msg) then
    return
  elseif is_parked or pending.is_injected(msg) then
    pending.park(msg, 'dkim')
  else
    kumo.reject(451, UNAVAILABLE)
  end
end

return mod
