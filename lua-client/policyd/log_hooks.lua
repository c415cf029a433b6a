--[[
Webhooks: rows that say who is told what of the log, over HTTP.

    require('policyd.log_hooks'):setup { slots = 2 } -- before policyd.queue

Beside or instead of policy-extras.log_hooks:new_json. Rows come and go without
a restart; what kumod has to know when it starts is an option here:

  slots           as many webhooks as may be told of one record: 1. Each costs
                  an event for every record of the log
  log_parameters  for kumo.configure_log_hook, as there: headers, meta,
                  per_record, back_pressure, deferred_spool
  queue_config    for kumo.make_queue_config, as there: retries are after a
                  minute, and then less and less often, up to 20 minutes

A record waits in the queue NAME.policyd.log_hook of its webhook, and where it
is sent is looked up when it is sent (webhook_delivery.lua).
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local policyd = require 'policyd'

local mod = {}
local SUFFIX = '.policyd.log_hook'
local HOOK = 'policyd.log_hook.'
local MOST_SLOTS = 20
-- What the log has to know of a message; the tenant decides who is told.
local META = { 'tenant', 'campaign', 'policyd_revision' }

-- The label of a queue of ours; nil for any other queue.
function mod.label_of(domain)
  if domain:sub(-#SUFFIX) == SUFFIX then
    return domain:sub(1, -#SUFFIX - 1)
  end
end

function mod.queue_of(label)
  return label .. SUFFIX
end

local function log_parameters(slot)
  local params = {}
  for name, value in pairs(mod.CONFIGURED.options.log_parameters or {}) do
    params[name] = value
  end
  params.name = HOOK .. slot
  params.meta = { table.unpack(META) }
  for _, name in ipairs(mod.CONFIGURED.options.log_parameters.meta or {}) do
    table.insert(params.meta, name)
  end
  return params
end

local function register()
  local constructor = handles.name 'log_hook'
  kumo.on('pre_init', function()
    for slot = 1, mod.CONFIGURED.options.slots do
      kumo.configure_log_hook(log_parameters(slot))
    end
  end)
  kumo.on('should_enqueue_log_record', function(msg, hook)
    if hook:sub(1, #HOOK) == HOOK then
      local slot = tonumber(hook:sub(#HOOK + 1))
      return require('policyd.webhooks').enqueue(msg, slot)
    end
  end)
  kumo.on('get_queue_config', function(domain)
    local label = mod.label_of(domain)
    if label then
      return require('policyd.webhooks').queue_config(label, constructor)
    end
  end)
  kumo.on(constructor, function(domain)
    return require('policyd.webhook_delivery').connection(domain)
  end)
  kumo.on('validate_config', function()
    require('policyd.webhook_validation').check()
  end)
end

local function is_table(value)
  return type(value) == 'table'
end

local OPTIONS = {
  slots = {
    function(value)
      return math.type(value) == 'integer'
        and value >= 1
        and value <= MOST_SLOTS
    end,
    'a whole number from 1 to ' .. MOST_SLOTS,
  },
  log_parameters = {
    function(value)
      return is_table(value) and value.name == nil
    end,
    'a table for kumo.configure_log_hook, without a name',
  },
  queue_config = {
    function(value)
      return is_table(value)
        and value.protocol == nil
        and pcall(kumo.make_queue_config, value)
    end,
    'a table for kumo.make_queue_config, without a protocol',
  },
}

local function problem_with(options)
  if not is_table(options) then
    return 'setup takes a table'
  end
  for name, value in pairs(options) do
    local option = OPTIONS[name]
    if not option then
      return string.format("there is no option '%s'", tostring(name))
    elseif not option[1](value) then
      return string.format("the option '%s' has to be %s", name, option[2])
    end
  end
end

function mod:setup(options)
  options = options == nil and {} or options
  local problem = policyd.problem_with_setup(self) or problem_with(options)
  if problem then
    error('policyd.log_hooks: ' .. problem, 2)
  end
  mod.CONFIGURED = {
    options = {
      slots = options.slots or 1,
      log_parameters = options.log_parameters or {},
      queue_config = options.queue_config or {},
    },
  }
  register()
end

return mod
