--[[
Mail from HTTP injection that cannot be decided yet. Raising there would lose
it: kumod answers 200 and drops it. So it waits in a queue of ours, and whatever
is left to do is done when kumod puts it back.

    pending.step('queue', function(msg) … return true when done, false when still unknown end)

    if unknown and pending.is_injected(msg) then
      pending.park(msg, 'queue')
    end

Steps run in the order in which their modules were set up; one may raise
kumo.reject, which then bounces the message, as it would have at first. A step
whose turn comes while a message is parked parks it, too: is_parked says so.
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

function mod.step(name, run)
  if #steps == 0 then
    kumo.on('requeue_message', function(msg)
      if mod.is_parked(msg) then
        require('policyd.parking').requeued(msg, steps)
      end
    end)
  end
  table.insert(steps, { name = name, run = run })
end

return mod
