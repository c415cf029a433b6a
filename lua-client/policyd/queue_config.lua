--[[
What get_queue_config answers: see queue.lua, which registers it.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local hold = require 'policyd.hold'
local insertion = require 'policyd.insertion'
local lookup = require 'policyd.lookup'

local mod = {}

local function resolve_provider(domain, routing_domain)
  local ok, name = pcall(function()
    local target = routing_domain or domain
    local mx = kumo.dns.lookup_mx(target)
    -- The provider is a function of the destination, whatever the source.
    return kumo.invoke_get_egress_path_config(
      target,
      'unspecified',
      mx.site_name
    ).provider_name
  end)
  return ok and name or nil
end

-- kumod resolves the pool before the queue has this configuration; what is
-- inserted meanwhile goes by the old one.
local GRACE = 5

local providers

function mod.provider(domain, routing_domain)
  providers = providers
    or kumo.memoize(resolve_provider, {
      name = 'user.' .. handles.name 'provider',
      ttl = '1 minute',
      invalidate_with_epoch = true,
      capacity = 4096,
    })
  return providers(domain, routing_domain)
end

-- Where the provider comes from: policyd.shaping or the operator's own handler.
local function with_provider(options, domain, routing_domain)
  if options.provider_name == nil then
    local ok, name = pcall(mod.provider, domain, routing_domain)
    options.provider_name = ok and name or nil
  end
end

-- Parameters of make_queue_config; those of the hold where nobody can say, and
-- whether it is one.
function mod.resolve(domain, tenant, campaign)
  local found = insertion.find(domain, tenant, campaign)
  lookup.owe_bump(found)
  if found.status == 'found' and not found.answer.hold then
    return found.answer.options, false
  end
  return hold.queue_params(), true
end

local function real_config(mark, domain, tenant, campaign, routing_domain)
  local options, is_hold = mod.resolve(domain, tenant, campaign)
  if is_hold then
    return nil
  end
  with_provider(options, domain, routing_domain)
  local ok, made = construct.make('queue', { options = options })
  if not ok then
    error(made, 0)
  end
  hold.clear(mark, GRACE)
  hold.build(mark, options.egress_pool)
  return made
end

function mod.get_queue_config(domain, ...)
  handles.refreshes:increment(1)
  local mark = insertion.mark(domain, ...)
  local ok, made = pcall(real_config, mark, domain, ...)
  if ok and made then
    return made
  elseif not ok then
    require('policyd.report').trouble('queue', construct.reason(made))
  end
  hold.mark(mark)
  return kumo.make_queue_config(hold.queue_params())
end

return mod
