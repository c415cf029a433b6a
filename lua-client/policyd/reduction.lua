--[[
What of a question can exist. Loaded when L1 has no answer.

Each kind has `about`, the kinds of its documents; `candidates`, the tags of all
of them; and `reduce`, which takes which of those are present, and gives back
the question for just these, or nil if there is nothing, and the tags that were
looked at: a new row among them makes the answer out of date. So what is cached
and stored grows with rows, not with the names that strangers send.

    local kind = reduction.queue
    kind.reduce(kinds.queue('x.example', 'acme'), { ['queue/default'] = true, ['tenant/acme'] = true })
      --> kinds.queue('default', 'acme'), { 'queue/x.example', 'queue/*.example', 'queue/*', … }
]]
local kinds = require 'policyd.kinds'
local names = require 'policyd.names'
local tags = require 'policyd.tags'

local mod = {}
local tag = tags.tag

-- A kind that is asked for by the name of its row.
local function by_name(about, candidates)
  return {
    about = { about },
    candidates = candidates,
    reduce = function(question, present)
      local looked = candidates(question)
      for _, candidate in ipairs(looked) do
        if present[candidate] then
          return question, looked
        end
      end
      return nil, looked
    end,
  }
end

-- The node group's own form, else everybody's.
local function egress(kind)
  return by_name(kind, function(question)
    local forms = { tag(kind, '*', question.name) }
    if question.group then
      table.insert(forms, 1, tag(kind, question.group, question.name))
    end
    return forms
  end)
end

mod.egress_source = egress 'egress_source'
mod.egress_pool = egress 'egress_pool'
mod.tenant = by_name('tenant', function(question)
  return { tag('tenant', question.name) }
end)
mod.queue_settings = by_name('queue_settings', function()
  return { 'queue_settings' }
end)

mod.webhook = by_name('webhook', function()
  return { 'webhook' }
end)

local listener_domain = { about = { 'listener_domain' } }
mod.listener_domain = listener_domain

local function listener_forms(question)
  local forms = {}
  local chain = tags.chain(question.domain)
  local listener = question.listener
  for _, each in ipairs(listener and { listener, '*' } or { '*' }) do
    for _, name in ipairs(chain) do
      table.insert(forms, { each, name })
    end
  end
  return forms
end

function listener_domain.candidates(question)
  local candidates = {}
  for _, form in ipairs(listener_forms(question)) do
    table.insert(candidates, tag('listener_domain', form[1], form[2]))
  end
  return candidates
end

function listener_domain.reduce(question, present)
  local looked = {}
  for _, form in ipairs(listener_forms(question)) do
    local listener, name = form[1], form[2]
    local candidate = tag('listener_domain', listener, name)
    table.insert(looked, candidate)
    if present[candidate] then
      return kinds.listener_domain(name, listener), looked
    end
  end
  return nil, looked
end

local queue = { about = { 'queue', 'tenant' } }
mod.queue = queue

local function inner(question, domain)
  local rows = {}
  if question.tenant then
    table.insert(rows, tag('queue', domain, question.tenant))
    if question.campaign then
      table.insert(
        rows,
        tag('queue', domain, question.tenant, question.campaign)
      )
    end
  end
  return rows
end

function queue.candidates(question)
  local candidates = { 'queue/default' }
  if question.tenant then
    table.insert(candidates, tag('tenant', question.tenant))
  end
  local chain = tags.chain(question.domain)
  table.insert(chain, 'default')
  for _, name in ipairs(chain) do
    table.insert(candidates, tag('queue', name))
    local rows = inner(question, name)
    table.move(rows, 1, #rows, #candidates + 1, candidates)
  end
  return candidates
end

local function nearest(question, present)
  local looked = {}
  for _, name in ipairs(tags.chain(question.domain)) do
    local candidate = tag('queue', name)
    table.insert(looked, candidate)
    if present[candidate] then
      return name, looked
    end
  end
  return nil, looked
end

-- `has_campaign(tenant, campaign)` says whether the tenant's row knows the
-- campaign, which its name alone does not say; true when nobody can tell.
function queue.reduce(question, present, has_campaign)
  local hit, looked = nearest(question, present)
  local tenant, campaign = question.tenant, question.campaign
  local rows = inner(question, hit or 'default')
  if tenant then
    local named = tag('tenant', tenant)
    table.insert(looked, named)
    if not hit and present[rows[1]] then
      -- A tenant inside the default counts only for who asks for the default
      -- by name, which the reduced question would do.
      return question, looked
    end
    table.move(rows, 1, #rows, #looked + 1, looked)
    if campaign and not present[rows[2]] then
      campaign = present[named]
        and has_campaign(tenant, campaign)
        and campaign
    end
    if not present[named] and not present[rows[1]] then
      -- All that have no row are alike.
      tenant = names.NOBODY
    end
  end
  return kinds.queue(hit or 'default', tenant, campaign or nil), looked
end

local dkim = { about = { 'dkim_domain', 'dkim_signature' } }
mod.dkim = dkim

function dkim.candidates(question)
  local candidates = { tags.any 'dkim_signature' }
  for _, name in ipairs(tags.chain(question.domain)) do
    table.insert(candidates, tag('dkim_domain', name))
  end
  return candidates
end

-- A block signs as the asked domain, so the plan is the domain's own, be the
-- block a wildcard's. Without one there are the additional signatures at most,
-- and they are the same for everybody.
function dkim.reduce(question, present)
  -- Which signatures are additional ones stands in the settings.
  local looked = { 'dkim_settings' }
  for _, name in ipairs(tags.chain(question.domain)) do
    local candidate = tag('dkim_domain', name)
    table.insert(looked, candidate)
    if present[candidate] then
      return question, looked
    end
  end
  if present[tags.any 'dkim_signature'] then
    return kinds.dkim(names.NOBODY), looked
  end
  return nil, looked
end

return mod
