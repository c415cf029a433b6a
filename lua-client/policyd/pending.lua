--[[
Mail from HTTP injection that cannot be decided yet. Raising there would lose
it: kumod answers 200 and drops it. So it waits in a queue of ours, and whatever
is left to do is done when kumod puts it back.

    pending.step('queue', function(msg) … return true when done, false when still unknown end)

    if unknown and pending.is_injected(msg) then
      pending.park(msg, 'queue')
    end

Steps run in the order in which a message was parked for them, which is that of
the policy's handler; one may raise kumo.reject, which then bounces the message,
as it would have at first. A step whose turn comes while a message is parked
parks it, too: is_parked says so.
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

function mod.park(msg, step)
  require('policyd.parking').park(msg, step)
end

-- policyd.queue holds what waits there, too; KumoMTA's own helper would send it.
local function is_queue_ours()
  local queue = package.loaded['policyd.queue']
  return queue and queue.CONFIGURED
end

local function register()
  kumo.on('requeue_message', function(msg)
    if mod.is_parked(msg) then
      require('policyd.parking').requeued(msg, steps)
    end
  end)
  kumo.on('get_queue_config', function(domain)
    if domain == mod.DOMAIN then
      local params = require('policyd.hold').queue_params()
      return kumo.make_queue_config(params)
    end
  end)
  kumo.on('throttle_insert_ready_queue', function(msg)
    if not is_queue_ours() and mod.is_parked(msg) then
      require('policyd.hold').delay(msg)
    end
  end)
  kumo.on('policyd.hold', function()
    return require('policyd.hold').connection()
  end)
end

function mod.step(name, run)
  if not next(steps) then
    register()
  end
  steps[name] = run
end

return mod
