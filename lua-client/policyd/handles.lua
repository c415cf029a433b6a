--[[
What all Lua contexts of this kumod share: small integers, and queues.

Contexts come and go, and an old and a new version of this client live side by
side until a restart after an upgrade; so every name carries the format number.

    handles.era:sum()          0.1 µs, in any context
    handles.breaker:observe(os.time() + 10)
    handles.queue('writer'):try_send(text)

  generation   raised whenever the feed publishes what changed; 0: never yet
  era          raised at every reset: what was held before is only good as stale
  touch        when the feed last heard of the service; 0: it is out of touch
  breaker      until when the service is not asked by handlers
  drill        when the service last failed because of a drill
  owed         config epoch bumps owed, counted up
  refreshes    how often a queue asked for its configuration, counted up
  store        0 not prepared by this process, 1 open, 2 off until a restart
  holding      until when some queue or pool may be holding mail
  shaping      how often the file of shaping was replaced, counted up
  shaped       1 while there is a file of shaping that kumod takes
]]
local kumo = require 'kumo'

local mod = {
  FORMAT = 1,
  STORE_OPEN = 1,
  STORE_OFF = 2,
}

-- The feed asks for five seconds at a time; a node that has not heard of the
-- service for longer than one poll and its margin does not know what changed.
local TOUCH_LASTS = 15
-- Nobody keeps the breaker open for longer, whatever the clock did meanwhile.
local BREAKER_LASTS = 30

function mod.name(what)
  return string.format('policyd.%d.%s', mod.FORMAT, what)
end

function mod.series(what)
  return kumo.counter_series.define {
    name = mod.name(what),
    num_buckets = 1,
    bucket_size = '3650 days',
  }
end

local queues = {}
local LIMITS = { writer = 100000, reports = 100 }

function mod.queue(what)
  local queue = queues[what]
  if not queue then
    queue = kumo.mpsc.define(mod.name(what), LIMITS[what])
    queues[what] = queue
  end
  return queue
end

function mod.in_touch(now)
  local since = now - mod.touch:sum()
  return since <= TOUCH_LASTS and since >= -TOUCH_LASTS
end

function mod.breaker_open(now)
  local left = mod.breaker:sum() - now
  return left > 0 and left <= BREAKER_LASTS
end

-- Defining a series costs 3 µs and a context may never need most of them.
return setmetatable(mod, {
  __index = function(_, what)
    local series = mod.series(what)
    rawset(mod, what, series)
    return series
  end,
})
