--[[
The writer task: what lookups brought goes from the queue into the node store,
many at a time. Started from pre_init; ends with the process.

    kumo.on('policyd.1.writer', function() require('policyd.writer').run() end)
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local journal = require 'policyd.journal'
local report = require 'policyd.report'
local store = require 'policyd.store'

local mod = {}
local BATCH = 500
local BOUND_EVERY = 100
local MOST_ROWS = 500000
local MOST_BYTES = 512 * 1024 * 1024
-- Longer than kumod keeps what it has got of us.
local SECRETS_LAST = 30 * 86400

local function failed(problem)
  if not store.is_passing(problem) then
    return store.switch_off(problem)
  end
  report.trouble(
    'writer',
    'answers could not be stored: '
      .. require('policyd.construct').reason(problem)
  )
end

local function next_batch(queue)
  local records = {}
  for i, text in ipairs(queue:recv_many(BATCH)) do
    records[i] = text
  end
  return '[' .. table.concat(records, ',') .. ']'
end

-- Whoever built something from an answer that had changed before it got here, or
-- from the one that it takes the place of, is told by nobody else: the feed looks
-- at what the store holds.
local function keep(db, batch)
  handles.owed:increment(journal.put(db, batch))
end

local function bound(db)
  -- What is let go cannot be looked at when it changes.
  handles.unstored:increment(journal.bound(db, MOST_ROWS, MOST_BYTES))
  journal.forget_secrets(db, os.time() - SECRETS_LAST)
end

function mod.run()
  local queue = handles.queue 'writer'
  local db, batch
  local batches = 0
  while true do
    local ok, problem = pcall(function()
      batch = batch or next_batch(queue)
      if handles.store:sum() == handles.STORE_OPEN then
        db = db or journal.open()
        keep(db, batch)
      end
      batch = nil
      batches = batches + 1
      if db and batches % BOUND_EVERY == 1 then
        bound(db)
      end
    end)
    if not ok then
      pcall(failed, problem)
      kumo.sleep(0.2)
    end
  end
end

return mod
