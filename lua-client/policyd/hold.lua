--[[
Holding: mail whose policy is not known waits, without counting attempts.

A queue is given the hold configuration, which leads nowhere, and each of its
messages is delayed before it gets there. So what matters is which queues and
pools were answered with a hold: their names are kept as marks, process-wide.
Anybody else's queue is none of our business.

    hold.queue_params()                       -- for make_queue_config
    hold.mark('queue:' .. name)  hold.clear(…) -- when one was given, or a real one
    hold.build('queue:' .. name, pool)         -- what it was given instead
    hold.is_marked('queue:' .. name)
    hold.delay(msg)                           -- in throttle_insert_ready_queue
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {
  POOL = 'policyd-hold',
  CONSTRUCTOR = 'policyd.hold', -- an event that pending.lua registers
}

-- In ticks: mail must not be tried because a clock was set.
local LIFE = 120
local DELAY, JITTER = 20, 20

-- kumod infers attempts from retry_interval when it reads its spool, and
-- nothing may expire that would not with its own settings.
function mod.queue_params()
  local params = {
    retry_interval = '20 minutes',
    max_age = '365 days',
    refresh_strategy = 'Ttl',
    refresh_interval = '10 seconds',
  }
  if require('policyd.sources').CONFIGURED then
    params.egress_pool = mod.POOL
  else
    -- Nobody else knows our pool; an unknown one would strand the spool.
    params.protocol = { custom_lua = { constructor = mod.CONSTRUCTOR } }
  end
  return params
end

-- The net under the net, where the pool cannot be.
function mod.connection()
  local connection = {}
  function connection.send()
    kumo.reject(451, '4.3.0 policy is not available')
  end
  return connection
end

function mod.mark(name)
  local now = handles.ticks:sum()
  require('policyd.marks').set('hold', name, now + LIFE)
  if handles.holding:sum() < now + LIFE then
    handles.holding:observe(now + LIFE)
  end
end

-- A queue keeps the pool that it was given until it is looked at again,
-- whatever its rows say meanwhile.
function mod.build(name, pool)
  local marks = require 'policyd.marks'
  marks.set('built', name, pool and marks.hash('pool:' .. pool) or 0)
end

local function is_pool_marked(name)
  local marks = require 'policyd.marks'
  local ends = marks.ends('hold', marks.ends('built', name))
  return handles.ticks:sum() < ends
end

-- Whether anything was held lately: all that the fast path asks.
function mod.is_on()
  return handles.ticks:sum() < handles.holding:sum()
end

function mod.is_marked(name)
  return mod.is_on()
    and handles.ticks:sum() < require('policyd.marks').ends('hold', name)
end

-- A queue, or the pool that it was built with.
function mod.is_queue_marked(name)
  return mod.is_marked(name) or (mod.is_on() and is_pool_marked(name))
end

-- After `grace` seconds: until then what was built from the hold may live on.
function mod.clear(name, grace)
  if not mod.is_on() then
    return
  end
  local marks = require 'policyd.marks'
  local ends = grace and handles.ticks:sum() + grace or 0
  if marks.ends('hold', name) > ends then
    marks.set('hold', name, ends)
  end
end

function mod.delay(msg)
  local due = os.time() + DELAY + math.random(0, JITTER)
  msg:set_due(os.date('!%Y-%m-%dT%H:%M:%SZ', due))
end

return mod
