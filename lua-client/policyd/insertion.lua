--[[
What happens to a message on its way into a ready queue: it is held if its queue
or its pool is, and its tenant's and campaign's rates are kept.

    kumo.on('throttle_insert_ready_queue', insertion.throttle)
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local hold = require 'policyd.hold'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local pending = require 'policyd.pending'

local mod = {}

-- kumod names the parts of queues that it has not got in two ways.
local function or_nil(part)
  if part ~= '' then
    return part
  end
end

function mod.find(domain, tenant, campaign)
  return lookup.ask(kinds.queue(domain, or_nil(tenant), or_nil(campaign)))
end

-- What a queue that is held is marked by.
function mod.mark(domain, tenant, campaign)
  return string.format('queue:%s:%s@%s', campaign or '', tenant or '', domain)
end

local function throttled(msg, name, rate)
  local ok, is_delayed = pcall(function()
    return kumo.make_throttle(name, rate):delay_message_if_throttled(msg)
  end)
  if not ok then
    require('policyd.report').trouble('rate', construct.reason(is_delayed))
  end
  return ok and is_delayed
end

-- Under the stock helper's names, so that a budget survives the move.
local function apply_rates(msg, rates, tenant, campaign)
  local of_tenant = rates.tenant
    and throttled(
      msg,
      'queue-helper-tenant-overall_max_message_rate-' .. tenant,
      rates.tenant
    )
  if not of_tenant and rates.campaign then
    throttled(
      msg,
      string.format(
        'queue-helper-tenant-campaign-overall_max_message_rate-%s-%s',
        tenant,
        campaign
      ),
      rates.campaign
    )
  end
end

-- A pool that was answered empty because nobody could say what it is.
local function is_pool_held(answer)
  local pool = answer and answer.options.egress_pool
  if not pool or not hold.is_marked('pool:' .. pool) then
    return false
  end
  if require('policyd.egress').find_pool(pool).status ~= 'found' then
    hold.mark('pool:' .. pool)
  end
  return true
end

-- Parts of a queue's name: campaign:tenant@domain!routing_domain.
local function parts_of(name)
  local before, domain = name:match '^([^@]*)@(.*)$'
  domain = (domain or name):match '^[^!]*'
  if not before then
    return domain
  end
  local campaign, tenant = before:match '^([^:]*):(.*)$'
  return domain, tenant or before, campaign
end

local function is_held(domain, tenant, campaign, found)
  return hold.is_on()
    and (
      is_pool_held(found and found.answer)
      or hold.is_queue_marked(mod.mark(domain, tenant, campaign))
    )
end

local function throttle_insert(msg)
  if msg:get_meta 'reception_protocol' == 'LogRecord' then
    return
  end
  local domain, tenant, campaign = parts_of(msg:queue_name())
  if domain == pending.DOMAIN then
    return hold.delay(msg)
  end
  local needs_rates = or_nil(tenant) ~= nil
  local found = (needs_rates or hold.is_on())
    and mod.find(domain, tenant, campaign)
  if is_held(domain, tenant, campaign, found) then
    return hold.delay(msg)
  end
  local rates = found
    and found.answer
    and found.answer.overall_max_message_rate
  if rates then
    apply_rates(msg, rates, tenant, campaign)
  end
end

function mod.throttle(msg)
  -- A raise here would leave the message on disk, and nobody's until a restart.
  local ok, problem = pcall(throttle_insert, msg)
  if not ok then
    require('policyd.report').trouble('throttle', construct.reason(problem))
  end
end

return mod
