--[[
What `queue_helper:apply(msg)` does: campaign, tenant and routing domain of a
message, as policy-extras.queue takes them from its headers.

    queue_apply.apply(msg, auth_info) -- at reception; puts off or parks what is unknown
    queue_apply.finish(msg)           -- later: false while it still is

`auth_info` is for logins over HTTP (policyd.smtp_auth); a login sends for its
own tenant and no other.

Everything is looked up before the message is changed, so that it can be done
again later (policyd.pending).
]]
local kumo = require 'kumo'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local names = require 'policyd.names'
local pending = require 'policyd.pending'
local tenancy = require 'policyd.tenancy'

local mod = {}
local NOT_AUTHORIZED =
  "authz_id '%s' is not authorized to send as tenant '%s'"
local UNAVAILABLE = '4.3.0 policy is not available, try again later'

local function header(msg, name)
  return name and msg:get_first_named_header_value(name)
end

-- Who sends, and what says so.
local function tenant_of(msg, settings, own)
  local tenant = header(msg, settings.tenant_header)
  if tenant then
    return tenant, string.format("'%s' header", settings.tenant_header)
  elseif own then
    return own, 'login'
  elseif settings.default_tenant then
    return settings.default_tenant, 'default_tenant option'
  end
end

-- Why a message may not be sent as this tenant. An empty list of identities
-- is nobody, not anybody.
local function objection(msg, tenant, source, answer, identity)
  if answer.tenant_known ~= true then
    return string.format(
      "tenant '%s' specified by %s is not defined in your queue config",
      tenant,
      source
    )
  end
  if not answer.require_authz then
    return nil
  end
  local authz_id = identity or msg:get_meta 'authz_id'
  if not authz_id then
    return string.format("tenant '%s' requires SMTP AUTH", tenant)
  end
  for _, allowed in ipairs(answer.require_authz) do
    if allowed == authz_id then
      return nil
    end
  end
  return string.format(NOT_AUTHORIZED, authz_id, tenant)
end

-- Whatever the queue would be: that there is no such tenant is known from the
-- name index, in an outage too.
local function is_nobody(tenant)
  return tenant and lookup.ask(kinds.tenant(tenant)).status == 'none'
end

local function take(msg, name, is_removed)
  if is_removed then
    msg:remove_all_named_headers(name)
  end
end

-- What headers say becomes what the name of the queue says.
local function change(msg, settings, campaign, tenant)
  if settings.scheduling_header then
    msg:import_scheduling_header(settings.scheduling_header, true)
  end
  if campaign then
    take(msg, settings.campaign_header, settings.remove_campaign_header)
    local label = names.label(campaign)
    if label and label ~= names.NOBODY then
      -- Others would not survive in the name of a queue.
      msg:set_meta('campaign', campaign)
    end
  end
  if tenant then
    if settings.tenant_header then
      take(msg, settings.tenant_header, settings.remove_tenant_header)
    end
    msg:set_meta('tenant', tenant)
  end
end

local function run(msg)
  local kept = lookup.keep(kinds.queue_settings())
  if kept.status == 'unknown' then
    return 'unknown'
  end
  local settings = kept.answer or {}
  local campaign = header(msg, settings.campaign_header)
  local own, identity = tenancy.of(msg)
  local tenant, source = tenant_of(msg, settings, own)
  if own and tenant ~= own then
    return 'reject', 500, string.format(NOT_AUTHORIZED, identity, tenant)
  end
  local recipient = msg:recipient_list()[1]
  local found = lookup.ask(
    kinds.queue(
      recipient and recipient.domain or '',
      tenant or msg:get_meta 'tenant',
      campaign or msg:get_meta 'campaign'
    )
  )
  if found.status ~= 'found' and is_nobody(tenant) then
    found = { answer = { tenant_known = false } }
  elseif found.status ~= 'found' then
    return 'unknown'
  end
  local problem = tenant
    and objection(msg, tenant, source, found.answer, identity)
  if problem then
    return 'reject', 500, problem
  end
  change(msg, settings, campaign, tenant)
  if recipient and found.answer.routing_domain then
    msg:set_meta('routing_domain', found.answer.routing_domain)
  end
  msg:set_meta('policyd_revision', found.revision)
  return 'done'
end

-- Whether it is done; a permanent objection is raised.
function mod.finish(msg)
  local verdict, code, text = run(msg)
  if verdict == 'reject' then
    kumo.reject(code, text)
  end
  return verdict == 'done'
end

function mod.apply(msg, auth_info)
  -- Over SMTP, whoever passes on what it is given passes the connection's meta.
  if type(auth_info) == 'table' or pending.is_injected(msg) then
    tenancy.take(msg, auth_info)
  end
  if mod.finish(msg) then
    return
  elseif pending.is_injected(msg) then
    pending.park(msg, 'queue')
  else
    kumo.reject(451, UNAVAILABLE)
  end
end

return mod
