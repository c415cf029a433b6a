--[[
What get_egress_pool and get_egress_source answer: see sources.lua, which
registers them.
]]
local construct = require 'policyd.construct'
local hold = require 'policyd.hold'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local policyd = require 'policyd'

local mod = {}
-- Queues that were built with an empty pool look again after the bump that was
-- owed; until then their mail goes on being held.
local GRACE = 20

local function report(topic, text)
  require('policyd.report').trouble(topic, text)
end

local function empty(name)
  hold.mark('pool:' .. name)
  return select(2, construct.make('egress_pool', { name = name }))
end

-- Without those that cannot be made: one bad source would fail the pool.
local function usable(entries)
  local left = {}
  for _, entry in ipairs(entries) do
    local found = mod.find_source(entry.name)
    lookup.owe_bump(found)
    if found.status == 'found' then
      table.insert(left, entry)
    end
  end
  return left
end

function mod.find_source(name)
  return lookup.ask(kinds.egress_source(name, policyd.CONFIGURED.node_group))
end

function mod.find_pool(name)
  return lookup.ask(kinds.egress_pool(name, policyd.CONFIGURED.node_group))
end

local function pool(name)
  local found = mod.find_pool(name)
  lookup.owe_bump(found)
  if found.status == 'none' then
    report('pool', string.format("there is no egress pool '%s'", name))
    lookup.owe_bump { status = 'unknown' }
    return empty(name)
  elseif found.status == 'unknown' then
    return empty(name)
  end
  local entries = found.answer.entries or {}
  found.answer.entries = usable(entries)
  if #found.answer.entries == 0 and #entries > 0 then
    return empty(name)
  end
  local ok, made = construct.make('egress_pool', found.answer)
  if not ok then
    report('pool', made)
    return empty(name)
  end
  hold.clear('pool:' .. name, GRACE)
  return made
end

function mod.get_egress_pool(name)
  if name == hold.POOL then
    return empty(name)
  end
  local ok, made = pcall(pool, name)
  if not ok then
    report('pool', construct.reason(made))
  end
  return ok and made or empty(name)
end

function mod.get_egress_source(name)
  local found = mod.find_source(name)
  lookup.owe_bump(found)
  local problem = found.status
  if found.status == 'found' then
    local ok, made = construct.make('egress_source', found.answer)
    if ok then
      return made
    end
    problem = made
  end
  error(string.format("policyd: egress source '%s': %s", name, problem), 0)
end

return mod
