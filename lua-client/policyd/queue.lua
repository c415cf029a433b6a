--[[
Queues: tenants, campaigns, rates, and what a scheduled queue is made with.

    local queue_helper = require('policyd.queue'):setup() -- last of all helpers

    kumo.on('smtp_server_message_received', function(msg)
      queue_helper:apply(msg)
      …
    end)

Instead of policy-extras.queue and its files: `setup`, `setup_with_options
{ skip_queue_config_hook = true }`, `helper:apply`, `helper:resolve_config`,
`mod:resolve_provider` and `mod.is_queue_config_option` are as there. Registers
get_queue_config (queue_config.lua), throttle_insert_ready_queue
(insertion.lua) and what pending.lua does.

Mail whose queue nobody can describe is held (policyd.hold), and never sent by
a default. At reception it is put off with 451; what was injected over HTTP is
taken and held (policyd.pending), because kumod would drop it otherwise.
]]
local kumo = require 'kumo'
local pending = require 'policyd.pending'
local policyd = require 'policyd'

local mod = {}

-- Each value is tried by itself: kumod is the schema of its own options.
function mod.is_queue_config_option(name, value)
  return pcall(kumo.make_queue_config, { [name] = value })
end

function mod:resolve_provider(domain, routing_domain)
  return require('policyd.queue_config').provider(domain, routing_domain)
end

local OPTIONS =
  { skip_queue_config_hook = true, invalidate_with_epoch = true }

local function problem_with(options)
  if type(options) ~= 'table' then
    return 'setup_with_options takes a table'
  end
  for name in pairs(options) do
    if name == 'file_names' then
      return policyd.problem_with_setup({}, options)
    elseif not OPTIONS[name] then
      return string.format("there is no option '%s'", tostring(name))
    end
  end
end

local function set_up(options)
  local helper = {}
  function helper.apply(_, msg, auth_info)
    require('policyd.queue_apply').apply(msg, auth_info)
  end
  function helper.resolve_config(_, ...)
    return (require('policyd.queue_config').resolve(...))
  end
  mod.CONFIGURED = {
    options = options,
    resolve_config = helper.resolve_config,
    get_data = function()
      return require('policyd.validation').queues()
    end,
  }
  -- First, because get_queue_config below answers for every queue.
  pending.step('queue', function(msg)
    return require('policyd.queue_apply').finish(msg)
  end)
  if not options.skip_queue_config_hook then
    kumo.on('get_queue_config', function(...)
      return require('policyd.queue_config').get_queue_config(...)
    end)
  end
  kumo.on('throttle_insert_ready_queue', function(msg)
    require('policyd.insertion').throttle(msg)
  end)
  kumo.on('validate_config', function()
    require('policyd.validation').check_queues()
  end)
  return helper
end

function mod:setup(files)
  local problem = policyd.problem_with_setup(self, files)
  if problem then
    error('policyd.queue: ' .. problem, 2)
  end
  return set_up {}
end

-- `invalidate_with_epoch` is always so here.
function mod:setup_with_options(options)
  local problem = policyd.problem_with_setup(self) or problem_with(options)
  if problem then
    error('policyd.queue: ' .. problem, 2)
  end
  return set_up(options)
end

return mod
