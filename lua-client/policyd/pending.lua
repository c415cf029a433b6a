--[[
Mail from HTTP injection that cannot be decided yet. Raising there would lose
it: kumod answers 200 and drops it. So it waits in a queue of ours, and whatever
is left to do is done when kumod puts it back.

    pending.step('queue', function(msg) … return true when done, false when still unknown end)

    if unknown and pending.is_injected(msg) then
      pending.park(msg, 'queue')
    end

Steps run in the order in which their modules were set up; one may raise
kumo.reject, which then bounces the message, as it would have at first. What is
parked for one step is parked for those after it: pending.is_parked says so.
]]
local kumo = require 'kumo'

local mod = {
  DOMAIN = 'pending.policyd',
}
local steps = {}

function mod.is_injected(msg)
  return msg:get_meta 'reception_protocol' == 'HTTP'
end

function mod.is_parked(msg)
  return msg:get_meta 'queue' == mod.DOMAIN
end

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
  if not mod.is_parked(msg) then
    local queue = msg:get_meta 'queue'
    if queue then
      msg:set_meta('policyd_queue', queue)
    end
    msg:set_meta('queue', mod.DOMAIN)
  end
end

local function run(msg)
  local names = remaining(msg)
  for _, step in ipairs(steps) do
    if names[step.name] then
      if not step.run(msg) then
        return false
      end
      names[step.name] = nil
      local left = {}
      for _, name in ipairs(names) do
        if names[name] then
          table.insert(left, name)
        end
      end
      msg:set_meta('policyd_pending', table.concat(left, ','))
    end
  end
  return true
end

-- Bounces are the step's own decision; any other error leaves it parked.
local function is_rejection(problem)
  return type(problem) == 'userdata'
    and tostring(problem):find '^[45]%d%d ' ~= nil
end

local function requeued(msg)
  if not mod.is_parked(msg) then
    return
  end
  local ok, done = pcall(run, msg)
  if ok and done then
    msg:set_meta('queue', msg:get_meta 'policyd_queue')
    msg:set_meta('policyd_queue', nil)
    msg:set_meta('policyd_pending', nil)
  elseif not ok and is_rejection(done) then
    error(done, 0)
  elseif not ok then
    require('policyd.report').trouble(
      'pending',
      'a parked message stays parked: '
        .. require('policyd.construct').reason(done)
    )
  end
end

function mod.step(name, run_step)
  if #steps == 0 then
    kumo.on('requeue_message', function(msg)
      -- A bare return: other handlers have their turn.
      requeued(msg)
    end)
  end
  table.insert(steps, { name = name, run = run_step })
end

return mod
