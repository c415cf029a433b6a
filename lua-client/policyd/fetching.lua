--[[
What fills L1: the name index, the node store, the service. Loaded at the first
miss of a context, and called by lookup.lua only.

An envelope is what comes out: `{status, answer, tags, label}`, and

  valid_until  the service's own limit
  try          stale or unknown: the try that it is of; it is worth asking again in the next
  stale        not known to hold
  settled      kumod refuses what is there; until it changes, nothing will help

Nothing here raises for what others do: a raise would be pinned for a minute.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local kinds = require 'policyd.kinds'
local report = require 'policyd.report'
local store = require 'policyd.store'

local mod = {}
local BREAKER_FOR = 10

-- What came along with an answer, for the lookups that follow in this handler.
local brought = {}

local function list(tags)
  local copy = {}
  for _, tag in ipairs(tags) do
    table.insert(copy, tag)
  end
  return copy
end

local function from_store(held)
  return {
    status = held.status,
    answer = held.answer,
    tags = held.tags,
    label = held.label,
    valid_until = held.valid_until,
  }
end

-- One answer as the writer takes it.
function mod.record(question_kind, path, got, era, now)
  return {
    path = path,
    kind = question_kind,
    status = got.status,
    answer = got.answer,
    tags = kumo.json_encode(got.tags),
    label = got.label,
    era = era,
    valid_until = got.valid_until,
    at = now,
  }
end

function mod.hand_over(record)
  local ok, is_sent = pcall(function()
    return handles.queue('writer'):try_send(kumo.json_encode(record))
  end)
  if not (ok and is_sent) and record.label then
    handles.unstored:increment(1)
  end
end

-- An answer that kumod refuses is no answer. The reason is for operators.
function mod.is_accepted(kind, path, got)
  if got.status ~= 'found' then
    return true
  end
  local ok, problem = construct.make(kind, kumo.json_parse(got.answer))
  if not ok then
    report.trouble(
      'refused.' .. kind,
      string.format('kumod refuses the answer of %s: %s', path, problem)
    )
    handles['count.refused']:increment(1)
  end
  return ok
end

-- What is secret is kept in the store under the store key, or not at all.
local function keep_row(question, path, got, era, now)
  local record = mod.record(question.kind, path, got, era, now)
  if question.is_secret and got.answer then
    record.answer = require('policyd.seal').close(path, got.answer)
    if not record.answer then
      return
    end
  end
  mod.hand_over(record)
end

-- From the node store; what is secret and was not put there by this node is
-- not there.
local function stored(question, path, now)
  local held = store.read(path, now)
  if held and question.is_secret and held.answer then
    held.answer = require('policyd.seal').open(path, held.answer)
    if not held.answer then
      return nil
    end
  end
  return held
end

local PARTS = { egress_pool = 'egress_source' }

local function keep(question, path, got, era, now)
  if question.is_passing then
    return
  end
  keep_row(question, path, got, era, now)
  local kind = PARTS[question.kind]
  for part_path, part in pairs(got.with) do
    if kind and mod.is_accepted(kind, part_path, part) then
      mod.hand_over(mod.record(kind, part_path, part, era, now))
      part.era = era
      brought[part_path] = part
    end
  end
end

-- From the service, or nil, and whether what is there cannot be used.
local function fetched(question, changes, path, era, now)
  if handles.breaker_open(now) then
    return nil
  end
  local position = changes and changes.position
  local client = require 'policyd.client'
  local got, problem, is_there =
    client.answer(path, position, question.is_apart)
  if not got then
    if not is_there then
      handles.breaker:observe(now + BREAKER_FOR)
    end
    report.trouble(
      is_there and 'service.' .. question.kind or 'service',
      string.format(
        'a lookup of %s got no answer: %s',
        question.kind,
        problem
      )
    )
    return nil
  end
  if handles.era:sum() ~= era then
    -- Read from a history that was replaced meanwhile.
    return nil
  end
  if not mod.is_accepted(question.kind, path, got) then
    return nil, true
  end
  brought = {}
  keep(question, path, got, era, now)
  handles['count.fetched']:increment(1)
  return {
    status = got.status,
    answer = got.answer,
    tags = got.tags,
    label = got.label,
    valid_until = got.valid_until,
    stale = got.stale,
    try = got.stale and handles.try(now) or nil,
  }
end

-- The answer for what exists.
function mod.row(question, changes, path, era, floor)
  local now = os.time()
  local part = brought[path]
  if part and part.era == era and part.label >= floor then
    brought[path] = nil
    part.with, part.era = nil, nil
    part.try = part.stale and handles.try(now) or nil
    return part
  end
  local held = stored(question, path, now)
  if
    held
    and held.valid
    and held.label >= floor
    and handles.in_touch(now)
  then
    mod.hand_over { path = path, at = now }
    handles['count.stored']:increment(1)
    return from_store(held)
  end
  local env, settled = fetched(question, changes, path, era, now)
  if env then
    return env
  end
  local max_stale = require('policyd').CONFIGURED.max_stale
  if held and now - held.since <= max_stale then
    mod.hand_over { path = path, at = now }
    handles['count.stale']:increment(1)
    env = from_store(held)
    env.valid_until = nil
    env.stale = true
  else
    handles['count.unknown']:increment(1)
    env = { status = 'unknown', tags = {}, label = 0 }
  end
  env.settled = settled
  env.try = handles.try(now)
  return env
end

-- Says whether a tenant's row knows a campaign, and notes in `doubt` if only an
-- old one could be had: what follows from it is as old as that.
local function has_campaign(lookup, now, era, doubt)
  return function(tenant, campaign)
    local env, stale = lookup.row(kinds.tenant(tenant), now, era)
    if env.status == 'unknown' then
      return true
    elseif stale then
      doubt.label = env.label
    end
    if env.status == 'none' then
      return false
    end
    local campaigns = kumo.json_parse(env.answer).campaigns
    return campaigns ~= nil and campaigns[campaign] ~= nil
  end
end

-- By names of one moment and rows of another something is made that nobody ever
-- wrote: a row that is new, say, is passed over for the new default.
local function is_mixed(index, env, holds_at)
  return env.label > index.number
    or math.max(env.label, holds_at or 0) < index.number
end

-- The answer to all that was asked, so that the service says it of one moment:
-- `env`, if that is the same; nil, if nobody can tell.
local function of_one_moment(lookup, asked, env, era, floor)
  -- Not stored as such: what strangers ask for is without end.
  local whole = { is_passing = true }
  for name, value in pairs(asked) do
    whole[name] = value
  end
  local again = mod.row(whole, lookup.known_changes(), asked.path, era, floor)
  if again.stale or again.status == 'unknown' then
    return nil
  elseif again.answer == env.answer and again.status == env.status then
    return env
  end
  -- The feed looks in the store for what is built from it.
  keep_row(asked, asked.path, again, era, os.time())
  return again
end

-- The answer to what was asked: that for what exists of it.
function mod.reduced(lookup, question, _, era, floor)
  local now = os.time()
  local kind = require('policyd.reduction')[question.kind]
  local index = not question.whole
    and store.names(kind.candidates(question), kind.about)
  local asked, looked, doubt = question, {}, {}
  if index and index.number >= floor then
    local row
    row, looked = kind.reduce(
      question,
      index.present,
      has_campaign(lookup, now, era, doubt)
    )
    if not row then
      return { status = 'none', tags = looked, label = index.number }
    end
    question = row
  else
    index = nil
  end
  local env, stale, holds_at = lookup.row(question, now, era)
  if index and not stale and is_mixed(index, env, holds_at) then
    local again = of_one_moment(lookup, asked, env, era, index.number)
    stale = not again
    if again and again ~= env then
      env, holds_at, index, looked = again, nil, nil, {}
    end
  end
  -- Not its own label: what was looked for beside it may have gone since then,
  -- and would make this seem to be older than that for as long as it holds.
  local label = math.max(env.label, holds_at or 0)
  if doubt.label then
    stale, label = true, math.min(label, doubt.label)
  end
  local tags = list(env.tags)
  local seen = {}
  for _, tag in ipairs(tags) do
    seen[tag] = true
  end
  for _, tag in ipairs(looked) do
    if not seen[tag] then
      table.insert(tags, tag)
    end
  end
  return {
    status = env.status,
    answer = env.answer,
    tags = tags,
    label = index and math.min(index.number, label) or label,
    valid_until = not stale and env.valid_until or nil,
    stale = stale or nil,
    settled = env.settled,
    try = stale and (env.try or handles.try(now)) or nil,
  }
end

return mod
