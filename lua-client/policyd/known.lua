--[[
The one rule: when an answer may be used, given what its holder knows to have
changed. It is policy/validity.py of the service, and the statement in
store.lua, once more.

An answer is `{label, tags, valid_until}`. Known changes are
`{number, begins, tags = {tag = revision}, floors = {kind = revision}}`: all
that changed after revision `begins`, up to `number`.

    local known = mod.new('105-3f9a12bc', 5000)
    mod.learn(known, { position = '107-…', tags = { ['tenant/acme'] = { 107, true } }, floors = {} })
    mod.outdated(answer, known)  -- nil while it holds, else the revision to ask anew from
]]
local mod = {}

function mod.kind_of(tag)
  return tag:match '^[^/]*'
end

-- Number and stamp of a written position; nil for anything else.
function mod.position(text)
  if type(text) ~= 'string' then
    return nil
  end
  local number, stamp = text:match '^(%d+)%-([%da-f]+)$'
  if number and #stamp == 8 then
    return math.tointeger(tonumber(number)), stamp
  end
end

-- The revision that an answer would have to be at least as new as; nil while
-- it is as good as it can be. `valid_until` is another matter: see expired.
function mod.outdated(answer, known)
  local label = answer.label
  if label >= known.number then
    return nil
  end
  local newest = label < known.begins and known.begins or 0
  local tags, floors, has_floors = known.tags, known.floors, known.has_floors
  for _, tag in ipairs(answer.tags) do
    local revision = tags[tag]
    if revision and revision > label and revision > newest then
      newest = revision
    end
    local floor = has_floors and floors[mod.kind_of(tag)]
    if floor and floor > label and floor > newest then
      newest = floor
    end
  end
  return newest > 0 and newest or nil
end

function mod.expired(answer, now)
  local valid_until = answer.valid_until
  return valid_until ~= nil and now >= valid_until
end

function mod.reset(known, position)
  known.position = position
  known.number = mod.position(position)
  known.begins = known.number
  known.tags, known.floors = {}, {}
  known.has_floors = false
  known.size = 0
end

function mod.new(position, limit)
  local known = { limit = limit }
  mod.reset(known, position)
  return known
end

-- A floor says more than the tags below it do, and what it stands for may have
-- changed whether they exist.
local function forget_what_floors_cover(known)
  for tag, revision in pairs(known.tags) do
    if revision <= (known.floors[mod.kind_of(tag)] or 0) then
      known.tags[tag] = nil
      known.size = known.size - 1
    end
  end
end

local function forget_the_oldest(known)
  local revisions = {}
  for _, revision in pairs(known.tags) do
    table.insert(revisions, revision)
  end
  table.sort(revisions)
  known.begins = math.max(known.begins, revisions[known.size - known.limit])
  for tag, revision in pairs(known.tags) do
    if revision <= known.begins then
      known.tags[tag] = nil
      known.size = known.size - 1
    end
  end
end

-- Take in what a reading of the log from this position brought.
function mod.learn(known, news)
  if news.reset then
    return mod.reset(known, news.position)
  end
  for tag, change in pairs(news.tags) do
    if not known.tags[tag] then
      known.size = known.size + 1
    end
    known.tags[tag] = change[1]
  end
  for kind, revision in pairs(news.floors) do
    known.floors[kind] = math.max(revision, known.floors[kind] or 0)
    known.has_floors = true
  end
  if next(news.floors) then
    forget_what_floors_cover(known)
  end
  known.position = news.position
  known.number = mod.position(news.position)
  if known.size > known.limit then
    forget_the_oldest(known)
  end
end

return mod
