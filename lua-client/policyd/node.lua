--[[
What this node says of itself, at /nodes: what it has applied, what it runs, and
how its lookups went.

    local mine = node.new()
    mine:report(known, os.time())   -- now and then; never raises

Nobody can say anything in an outage; in a drill, which is an outage on purpose,
whoever started it is told every other second how it goes.
]]
local kumo = require 'kumo'
local client = require 'policyd.client'
local handles = require 'policyd.handles'
local node_name = require 'policyd.node_name'
local report = require 'policyd.report'

local mod = {}
local Node = {}
Node.__index = Node

local EVERY, EVERY_IN_DRILL = 30, 2
local DRILL_LASTS = 15
local COUNTS =
  { 'fetched', 'stored', 'stale', 'unknown', 'refused', 'drilled' }

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

-- Whether something failed lately because a drill is on.
function mod.in_drill(now)
  local since = now - handles.drill:sum()
  return since >= 0 and since <= DRILL_LASTS
end

-- Seconds until there is something to say: who waits for a revision is not to
-- wait for the next long-poll too. After a failure the usual time is soon
-- enough.
function Node:due_in(known, now)
  local is_news = known.position ~= self.position and not self.failed
  local every = mod.in_drill(now) and EVERY_IN_DRILL or EVERY
  local since = now - self.at
  return since < 0 and 0 or math.max(0, (is_news and 1 or every) - since)
end

-- Back after an outage: worth saying at once.
function Node:recovered()
  self.at = 0
end

function Node:report(known, now, is_out_of_touch)
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
  if is_out_of_touch then
    body.in_touch = false
  end
  local ok, done, problem = pcall(client.report, node_name.name(), body)
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
