--[[
When the config epoch is bumped: not sooner than what was built can be rebuilt
right, not more often than kumod can bear, and never forgotten.

    local plan = bump.new(5)
    plan:want()                 -- something that kumod has built is out of date
    plan:pay(is_recovered)      -- bumps, if one is wanted or owed, and due

A bump costs about a millisecond for each live queue, and its pass goes from
queue to queue. An owed one is for an answer that was stale or unknown when
something was built from it.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local Plan = {}
Plan.__index = Plan

-- Pools and sources live for 200 ms in kumod's own caches, and a queue looks
-- exactly once.
local SETTLES = 0.25
local SECONDS_PER_QUEUE = 0.002
local LONGEST_PASS = 60
local LONGEST_OWED = 300

function mod.new(interval)
  return setmetatable({
    interval = interval,
    owed_interval = interval,
    wanted = false,
    paid = handles.owed:sum(),
    refreshes = handles.refreshes:sum(),
    last = 0,
  }, Plan)
end

function Plan:want()
  self.wanted = true
end

function Plan:is_owed()
  return handles.owed:sum() ~= self.paid
end

-- Seconds until a bump that is wanted may be done; nil if none is.
function Plan:due_in(now)
  if not self.wanted and not self:is_owed() then
    return nil
  end
  local asked = handles.refreshes:sum() - self.refreshes
  local pass = math.min(asked * SECONDS_PER_QUEUE, LONGEST_PASS)
  local pause = self.wanted and self.interval or self.owed_interval
  local since = now - self.last
  if since < 0 then
    return 0
  end
  return math.max(math.max(pause, pass) - since, 0)
end

-- `is_recovered`: the service was out of touch until now.
function Plan:pay(now, is_recovered)
  if is_recovered then
    self.owed_interval = self.interval
  end
  local due_in = self:due_in(now)
  if not due_in or due_in > 0 then
    return due_in
  end
  -- What is owed again and again without anything having changed is not cured
  -- by bumping.
  if self.wanted then
    self.owed_interval = self.interval
  else
    self.owed_interval = math.min(self.owed_interval * 2, LONGEST_OWED)
  end
  -- What comes to be owed meanwhile has not settled when the queues look.
  self.paid = handles.owed:sum()
  kumo.sleep(SETTLES)
  self.refreshes = handles.refreshes:sum()
  self.wanted = false
  self.last = now
  kumo.bump_config_epoch()
end

return mod
