--[[
The kinds of lookups: what is asked, by which path, and what of it can exist.

A question is a table with `kind` and `path`. Its `reduce` takes which of its
documents exist, and gives back the question for just those, or nil if there is
nothing, and the tags that were looked at: a new row among them makes the
answer out of date. So what is cached and stored grows with rows, not with the
names that strangers send. A question that is `whole` is not reduced: its
domain is one that only the service can bring into the form of a row.

    local question = kinds.queue('Mail.Example.com', 'acme', 'welcome')
    question.path                        --> '/queue/mail.example.com?tenant=acme&campaign=welcome'
    question:candidates()                --> all tags that it could be about
    question:reduce { ['queue/default'] = true, ['tenant/acme'] = true }
                                         --> kinds.queue('default', 'acme'), { 'queue/mail.example.com', … }

A new kind is one more pair of functions here, and its constructor in
construct.lua.
]]
local names = require 'policyd.names'

local mod = {}
local tag, path = names.tag, names.path

-- Kinds of documents whose names this node keeps.
mod.NAMED = {
  'listener_domain',
  'egress_source',
  'egress_pool',
  'tenant',
  'queue_settings',
  'queue',
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

local function any_of(question, present)
  local looked = question:candidates()
  for _, candidate in ipairs(looked) do
    if present[candidate] then
      return question, looked
    end
  end
  return nil, looked
end

local listener_domain = { about = { 'listener_domain' } }
listener_domain.__index = listener_domain

function mod.listener_domain(domain, listener)
  domain = names.domain(domain)
  if listener == '*' or listener == '' then
    listener = nil
  end
  return setmetatable({
    kind = 'listener_domain',
    path = path('/listener-domain/', domain, 'listener', listener),
    whole = names.is_foreign(domain),
    domain = domain,
    listener = listener,
  }, listener_domain)
end

local function listener_forms(question)
  local forms = {}
  local chain = names.chain(question.domain)
  local listener = question.listener
  for _, each in ipairs(listener and { listener, '*' } or { '*' }) do
    for _, name in ipairs(chain) do
      table.insert(forms, { each, name })
    end
  end
  return forms
end

function listener_domain:candidates()
  local tags = {}
  for _, form in ipairs(listener_forms(self)) do
    table.insert(tags, tag('listener_domain', form[1], form[2]))
  end
  return tags
end

function listener_domain:reduce(present)
  local looked = {}
  for _, form in ipairs(listener_forms(self)) do
    local listener, name = form[1], form[2]
    local candidate = tag('listener_domain', listener, name)
    table.insert(looked, candidate)
    if present[candidate] then
      return mod.listener_domain(name, listener), looked
    end
  end
  return nil, looked
end

-- Sources and pools: the node group's own form, else everybody's.
local function egress(kind, segment)
  local meta = { about = { kind }, reduce = any_of }
  meta.__index = meta

  function meta:candidates()
    local tags = {}
    if self.group then
      table.insert(tags, tag(kind, self.group, self.name))
    end
    table.insert(tags, tag(kind, '*', self.name))
    return tags
  end

  return function(name, group)
    return setmetatable({
      kind = kind,
      path = path(segment, name, 'group', group),
      name = name,
      group = group,
    }, meta)
  end
end

mod.egress_source = egress('egress_source', '/egress-source/')
mod.egress_pool = egress('egress_pool', '/egress-pool/')

local tenant = { about = { 'tenant' }, reduce = any_of }
tenant.__index = tenant

function mod.tenant(name)
  return setmetatable({
    kind = 'tenant',
    path = path('/tenant/', name),
    name = name,
  }, tenant)
end

function tenant:candidates()
  return { tag('tenant', self.name) }
end

local queue_settings = { about = { 'queue_settings' }, reduce = any_of }
queue_settings.__index = queue_settings

function mod.queue_settings()
  return setmetatable(
    { kind = 'queue_settings', path = '/queue-settings' },
    queue_settings
  )
end

function queue_settings.candidates()
  return { 'queue_settings' }
end

local queue = { about = { 'queue', 'tenant' } }
queue.__index = queue

function mod.queue(domain, tenant_name, campaign)
  domain = names.domain(domain)
  tenant_name, campaign = names.label(tenant_name), names.label(campaign)
  if campaign == names.NOBODY then
    campaign = nil
  end
  return setmetatable({
    kind = 'queue',
    path = path(
      '/queue/',
      domain,
      'tenant',
      tenant_name,
      'campaign',
      campaign
    ),
    whole = names.is_foreign(domain),
    domain = domain,
    tenant = tenant_name,
    campaign = campaign,
  }, queue)
end

local function inner(question, domain)
  local tags = {}
  if question.tenant then
    table.insert(tags, tag('queue', domain, question.tenant))
    if question.campaign then
      table.insert(
        tags,
        tag('queue', domain, question.tenant, question.campaign)
      )
    end
  end
  return tags
end

function queue:candidates()
  local tags = { 'queue/default' }
  if self.tenant then
    table.insert(tags, tag('tenant', self.tenant))
  end
  local chain = names.chain(self.domain)
  table.insert(chain, 'default')
  for _, name in ipairs(chain) do
    table.insert(tags, tag('queue', name))
    table.move(inner(self, name), 1, 2, #tags + 1, tags)
  end
  return tags
end

-- `has_campaign(tenant, campaign)` says whether the tenant's row knows the
-- campaign, which its name alone does not say; true when nobody can tell.
function queue:reduce(present, has_campaign)
  local looked, hit = {}, nil
  for _, name in ipairs(names.chain(self.domain)) do
    local candidate = tag('queue', name)
    table.insert(looked, candidate)
    if present[candidate] then
      hit = name
      break
    end
  end
  local rows = inner(self, hit or 'default')
  local is_tenant, in_domain, in_campaign
  if self.tenant then
    local named = tag('tenant', self.tenant)
    table.insert(looked, named)
    is_tenant = present[named]
    in_domain = present[rows[1]]
    in_campaign = rows[2] and present[rows[2]]
    if not hit and in_domain then
      -- A tenant inside the default counts only for who asks for the default
      -- by name, which the reduced question would do.
      return self, looked
    end
  end
  table.move(rows, 1, #rows, #looked + 1, looked)
  local asked = (is_tenant or in_domain) and self.tenant
    or (self.tenant and names.NOBODY)
  local campaign = self.campaign
  if campaign and not in_campaign then
    campaign = is_tenant and has_campaign(self.tenant, campaign) and campaign
  end
  return mod.queue(hit or 'default', asked or nil, campaign or nil), looked
end

return mod
