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
get_queue_config, throttle_insert_ready_queue and requeue_message.

Mail whose queue nobody can describe is held (policyd.hold), and never sent by
a default. At reception it is put off with 451; what was injected over HTTP is
taken and held (policyd.pending), because kumod would drop it otherwise.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local hold = require 'policyd.hold'
local insertion = require 'policyd.insertion'
local lookup = require 'policyd.lookup'
local pending = require 'policyd.pending'
local policyd = require 'policyd'
local queue_apply = require 'policyd.queue_apply'

local mod = {}
local UNAVAILABLE = '4.3.0 policy is not available, try again later'

-- Each value is tried by itself: kumod is the schema of its own options.
function mod.is_queue_config_option(name, value)
  return pcall(kumo.make_queue_config, { [name] = value })
end

local function resolve_provider(domain, routing_domain)
  local ok, name = pcall(function()
    local target = routing_domain or domain
    local mx = kumo.dns.lookup_mx(target)
    -- The provider is a function of the destination, whatever the source.
    return kumo.invoke_get_egress_path_config(
      target,
      'unspecified',
      mx.site_name
    ).provider_name
  end)
  return ok and name or nil
end

local providers

function mod:resolve_provider(domain, routing_domain)
  providers = providers
    or kumo.memoize(resolve_provider, {
      name = 'user.policyd.provider',
      ttl = '1 minute',
      invalidate_with_epoch = true,
      capacity = 4096,
    })
  return providers(domain, routing_domain)
end

-- Where the provider comes from: policyd.shaping or the operator's own handler.
local function with_provider(options, domain, routing_domain)
  if options.provider_name == nil then
    local ok, name = pcall(mod.resolve_provider, mod, domain, routing_domain)
    options.provider_name = ok and name or nil
  end
end

-- Parameters of make_queue_config; those of the hold where nobody can say, and
-- whether it is one.
local function resolve(domain, tenant, campaign)
  local found = insertion.find(domain, tenant, campaign)
  lookup.owe_bump(found)
  if found.status == 'found' and not found.answer.hold then
    return found.answer.options, false
  end
  return hold.queue_params(), true
end

local function real_config(mark, domain, tenant, campaign, routing_domain)
  local options, is_hold = resolve(domain, tenant, campaign)
  if is_hold then
    return nil
  end
  with_provider(options, domain, routing_domain)
  local ok, made = construct.make('queue', { options = options })
  if not ok then
    error(made, 0)
  end
  hold.clear(mark)
  return made
end

function mod.get_queue_config(domain, ...)
  handles.refreshes:increment(1)
  local mark = insertion.mark(domain, ...)
  if domain ~= pending.DOMAIN then
    local ok, made = pcall(real_config, mark, domain, ...)
    if ok and made then
      return made
    elseif not ok then
      require('policyd.report').trouble('queue', construct.reason(made))
    end
  end
  hold.mark(mark)
  return kumo.make_queue_config(hold.queue_params())
end

local function run_step(msg)
  local verdict, code, text = queue_apply.run(msg)
  if verdict == 'reject' then
    kumo.reject(code, text)
  end
  return verdict == 'done'
end

local function apply(_, msg)
  local is_done = run_step(msg)
  if is_done then
    return
  elseif pending.is_injected(msg) then
    pending.park(msg, 'queue')
  else
    kumo.reject(451, UNAVAILABLE)
  end
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
  local helper = { apply = apply }
  function helper.resolve_config(_, domain, tenant, campaign)
    return (resolve(domain, tenant, campaign))
  end
  mod.CONFIGURED = {
    options = options,
    resolve_config = helper.resolve_config,
    get_data = function()
      return require('policyd.validation').queues()
    end,
  }
  if not options.skip_queue_config_hook then
    kumo.on('get_queue_config', mod.get_queue_config)
    kumo.on(hold.CONSTRUCTOR, hold.connection)
  end
  kumo.on('throttle_insert_ready_queue', insertion.throttle)
  pending.step('queue', run_step)
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
