--[[
The kinds of lookups: what is asked, and by which path.

    local question = kinds.queue('Mail.Example.com', 'acme', 'welcome')
    question.path  --> '/queue/mail.example.com?tenant=acme&campaign=welcome'

Equal questions have equal paths, here and at the service. A question that is
`whole` has a domain that only the service can bring into the form of a row. One
that is `is_apart` may get no answer for reasons of its own, from a service that
is well; one that is `is_secret` is kept in the store under the store key only.
A new kind is one more function here, its documents in reduction.lua, and its
constructor in construct.lua.
]]
local names = require 'policyd.names'

local mod = {}
local path = names.path

function mod.listener_domain(domain, listener)
  domain = names.domain(domain)
  if listener == '*' or listener == '' then
    listener = nil
  end
  return {
    kind = 'listener_domain',
    path = path('/listener-domain/', domain, 'listener', listener),
    whole = names.is_foreign(domain),
    domain = domain,
    listener = listener,
  }
end

function mod.egress_source(name, group)
  return {
    kind = 'egress_source',
    path = path('/egress-source/', name, 'group', group),
    name = name,
    group = group,
  }
end

function mod.egress_pool(name, group)
  return {
    kind = 'egress_pool',
    path = path('/egress-pool/', name, 'group', group),
    name = name,
    group = group,
  }
end

function mod.tenant(name)
  return { kind = 'tenant', path = path('/tenant/', name), name = name }
end

function mod.queue_settings()
  return { kind = 'queue_settings', path = '/queue-settings' }
end

function mod.queue(domain, tenant, campaign)
  domain, tenant = names.domain(domain), names.label(tenant)
  campaign = names.label(campaign)
  if campaign == names.NOBODY then
    campaign = nil
  end
  return {
    kind = 'queue',
    path = path('/queue/', domain, 'tenant', tenant, 'campaign', campaign),
    whole = names.is_foreign(domain),
    domain = domain,
    tenant = tenant,
    campaign = campaign,
  }
end

function mod.webhooks()
  return { kind = 'webhook', path = '/webhooks' }
end

-- The signing plan of the domain of a From: header.
function mod.dkim(domain)
  domain = names.domain(domain)
  return {
    kind = 'dkim',
    path = path('/dkim/', domain),
    whole = names.is_foreign(domain),
    is_apart = true,
    domain = domain,
  }
end

function mod.dkim_key(domain, selector, key_id)
  local place = '/dkim/' .. names.quoted(domain) .. '/'
  return {
    kind = 'dkim_key',
    path = path(place, selector, 'key_id', key_id),
    is_apart = true,
    is_secret = true,
  }
end

return mod
