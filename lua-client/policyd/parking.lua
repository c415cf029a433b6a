--[[
How mail is parked, and what is done when kumod puts it back: see pending.lua.
]]
local pending = require 'policyd.pending'

local mod = {}

local function remaining(msg)
  local names = {}
  for name in (msg:get_meta 'policyd_pending' or ''):gmatch '[^,]+' do
    table.insert(names, name)
    names[name] = true
  end
  return names
end

function mod.park(msg, step)
  local names = remaining(msg)
  if not names[step] then
    table.insert(names, step)
    msg:set_meta('policyd_pending', table.concat(names, ','))
  end
  if not pending.is_parked(msg) then
    local queue = msg:get_meta 'queue'
    if queue then
      msg:set_meta('policyd_queue', queue)
    end
    msg:set_meta('queue', pending.DOMAIN)
  end
end

local function run(msg, steps)
  local names = remaining(msg)
  for i, name in ipairs(names) do
    local step = steps[name]
    if step and not step(msg) then
      return false
    end
    msg:set_meta('policyd_pending', table.concat(names, ',', i + 1))
  end
  return true
end

-- What kumo.reject raised: somebody's decision, and no fault.
function mod.is_rejection(problem)
  return type(problem) == 'userdata'
    and tostring(problem):find '^[45]%d%d ' ~= nil
end

function mod.requeued(msg, steps)
  local ok, done = pcall(run, msg, steps)
  if ok and done then
    msg:set_meta('queue', msg:get_meta 'policyd_queue')
    msg:set_meta('policyd_queue', nil)
    msg:set_meta('policyd_pending', nil)
  elseif not ok and mod.is_rejection(done) then
    -- Bounces are the step's own decision; any other error leaves it parked.
    error(done, 0)
  elseif not ok then
    require('policyd.report').trouble(
      'pending',
      'a parked message stays parked: '
        .. require('policyd.construct').reason(done)
    )
  end
end

return mod
