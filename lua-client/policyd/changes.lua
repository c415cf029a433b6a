--[[
What a holder has learned of changes, in a window of about `limit` tags:
KnownChanges of policy/validity.py of the service, once more.

    local known = changes.new('105-3f9a12bc', 5000)
    changes.learn(known, { position = '107-…', tags = { ['tenant/acme'] = { 107, true } }, floors = {} })
]]
local known_rule = require 'policyd.known'

local mod = {}

function mod.reset(known, position)
  known.position = position
  known.number = known_rule.position(position)
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
    if revision <= (known.floors[known_rule.kind_of(tag)] or 0) then
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
  known.number = known_rule.position(news.position)
  if known.size > known.limit then
    forget_the_oldest(known)
  end
end

return mod
