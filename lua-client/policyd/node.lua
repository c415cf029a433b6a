--[[
What this node says of itself, at /nodes: what it has applied, what it runs, and
how its lookups went.

    local mine = node.new()
    mine:report(known, os.time())   -- now and then; never raises
]]
local kumo = require 'kumo'
local client = require 'policyd.client'
local handles = require 'policyd.handles'
local report = require 'policyd.report'

local mod = {}
local Node = {}
Node.__index = Node

local EVERY = 30
local COUNTS = { 'fetched', 'stored', 'stale', 'unknown', 'refused' }

local function hostname()
  local file = io.open '/proc/sys/kernel/hostname'
  local name = file and file:read 'l'
  if file then
    file:close()
  end
  return name or os.getenv 'HOSTNAME' or 'unnamed'
end

function mod.name()
  local named = require('policyd').CONFIGURED.node or hostname()
  return (named:gsub('[^%w._-]', '-'):sub(1, 64))
end

function mod.new()
  return setmetatable({ at = 0, queue = handles.queue 'reports' }, Node)
end

local function counts()
  local all = {}
  for _, what in ipairs(COUNTS) do
    all[what] = handles['count.' .. what]:sum()
  end
  return all
end

function Node:last_error()
  local last = self.error
  repeat
    local text = self.queue:try_recv()
    last = text or last
  until not text
  self.error = last
  return last
end

-- Seconds until there is something to say: who waits for a revision is not to
-- wait for the next long-poll too. After a failure the usual time is soon
-- enough.
function Node:due_in(known, now)
  local is_news = known.position ~= self.position and not self.failed
  local since = now - self.at
  return since < 0 and 0 or math.max(0, (is_news and 1 or EVERY) - since)
end

function Node:report(known, now)
  if self:due_in(known, now) > 0 then
    return
  end
  self.at = now
  local body = {
    applied = known.position,
    group = require('policyd').CONFIGURED.node_group,
    kumomta_version = kumo.version,
    client_version = tostring(handles.FORMAT),
    counts = counts(),
    error = self:last_error(),
  }
  local ok, done, problem = pcall(client.report, mod.name(), body)
  self.failed = not (ok and done)
  if not self.failed then
    self.position, self.error = known.position, nil
  else
    report.trouble(
      'node',
      'the node could not be reported: ' .. tostring(problem or done)
    )
  end
end

return mod
