--[[
What all Lua contexts of this kumod share: small integers, and queues.

Contexts come and go, and an old and a new version of this client live side by
side until a restart after an upgrade; so every name carries the format number.

    handles.era:sum()          0.1 µs, in any context
    handles.breaker:observe(os.time() + 10)
    handles.queue('writer'):try_send(text)

  generation   raised whenever the feed publishes what changed; 0: never yet
  era          raised at every reset: what was held before is only good as stale
  ahead        the last position of an answer: number and stamp (see position)
  lost         the last position of the history that was replaced; lost_at: when
  touch        when the feed last heard of the service; 0: it is out of touch
  breaker      until when the service is not asked by handlers
  drill        when the service last failed because of a drill
  tries        which try of what cannot be had this is: see try
  ticks        seconds, as the feed counts them: see tick
  owed         config epoch bumps owed, counted up
  unstored     how often something was not stored that should have been
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
local RETRY_AFTER = 2
-- Longer than a replica vouches for what it knows when it hears of its database
-- no more.
local LOST_LASTS = 30
local LONGEST_TICK = 10
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

-- Another history has taken the place of the one that ended here.
function mod.lose(packed, now)
  mod.lost:observe(packed)
  mod.lost_at:observe(now)
end

-- Whether the history of this position has just been replaced: who still
-- answers from it does not know yet.
function mod.is_lost(packed, now)
  local since = now - mod.lost_at:sum()
  return packed == mod.lost:sum() and since >= 0 and since < LOST_LASTS
end

-- Which try this is of asking for what could not be had: all of this process
-- share it, and there is another one every two seconds, whatever the clock does.
function mod.try(now)
  local since = now - mod.tried_at:sum()
  if since < 0 or since >= RETRY_AFTER then
    mod.tried_at:observe(now)
    mod.tries:increment(1)
  end
  return mod.tries:sum()
end

-- Counts on for as long as has passed, but not when the clock was set, nor for
-- as long as the machine slept: whoever counts in ticks need not care.
function mod.tick(now)
  local passed = now - mod.ticked_at:sum()
  mod.ticked_at:observe(now)
  mod.ticks:increment(math.max(0, math.min(passed, LONGEST_TICK)))
end

-- Defining a series costs 3 µs and a context may never need most of them.
return setmetatable(mod, {
  __index = function(_, what)
    local series = mod.series(what)
    rawset(mod, what, series)
    return series
  end,
})
