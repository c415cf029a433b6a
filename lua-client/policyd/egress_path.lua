--[[
What get_egress_path_config answers, and what waits while it cannot be known:
see shaping.lua, which hands it out.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local shaping = require 'policyd.shaping'
local shaping_file = require 'policyd.shaping_file'

local mod = {}
-- What is sent to webhooks goes to one HTTP endpoint a domain: rules for mail,
-- like the packaged 100 messages a second, would only let records pile up.
local WEBHOOK = {
  connection_limit = 10,
  max_deliveries_per_connection = 100000,
  max_ready = 20000,
}
-- kumod waits no longer for a batch to fill than for anything else.
local IDLE = 5

local load_shared

local function load(names, _, options)
  local loaded = kumo.shaping.load(names, options)
  for _, text in ipairs(loaded:get_errors()) do
    kumo.log_error(text)
  end
  for _, text in ipairs(loaded:get_warnings()) do
    kumo.log_warn(text)
  end
  return loaded
end

-- What KumoMTA's own helper has loaded, where it is set up: with what the TSA
-- daemon says. What makes no sense there is like a daemon that is down.
local function with_automation(stock)
  local ok, loaded = pcall(stock.load_shaping_data)
  if ok then
    return loaded
  end
  require('policyd.report').trouble(
    'automation',
    'shaping goes on without what the TSA daemon says: '
      .. require('policyd.construct').reason(loaded)
  )
end

local function from_files(is_there)
  local options = shaping.CONFIGURED.options
  load_shared = load_shared
    or kumo.memoize(load, {
      name = 'user.' .. handles.name 'shaping',
      ttl = options.cache_ttl or '1 minute',
      capacity = 16,
      invalidate_with_epoch = true,
      retry_on_populate_timeout = options.retry_shaping_data_fetch_on_populate_timeout,
      populate_timeout = options.shaping_data_populate_timeout,
      allow_stale_reads = options.allow_stale_shaping_data,
    })
  local names = shaping_file.beneath()
  if is_there then
    table.insert(names, shaping_file.path())
  end
  return load_shared(
    names,
    handles.shaping:sum(),
    options.load_validation_options
  )
end

function mod.shaping()
  local is_there = shaping_file.is_there()
  if not is_there and handles.shaped:sum() == 1 then
    error(shaping_file.path() .. ' is gone', 0)
  end
  local stock = shaping.CONFIGURED.stock
  return stock and with_automation(stock) or from_files(is_there)
end

-- The label of a webhook's queue; nil for a domain of mail.
local function webhook_of(domain)
  return domain:match '^(.*)%.policyd%.log_hook$'
end

local function for_webhook(label)
  local params = {}
  for name, value in pairs(WEBHOOK) do
    params[name] = value
  end
  local latency = package.loaded['policyd.log_hooks']
    and require('policyd.webhooks').latency(label)
  params.idle_timeout = IDLE + (latency or 0)
  return params
end

local function path_config(loaded, domain, source, site, skip_make)
  local params = loaded
      and loaded:get_egress_path_config(domain, source, site)
    or for_webhook(webhook_of(domain))
  params.refresh_strategy = params.refresh_strategy or 'Epoch'
  return skip_make and params or kumo.make_egress_path(params)
end

local function failed(problem)
  -- kumod does not ask again before the next bump.
  require('policyd.lookup').owe_bump { status = 'unknown' }
  error(problem, 0)
end

function mod.get_egress_path_config(domain, ...)
  local loaded
  if not webhook_of(domain) then
    local ok, result = pcall(mod.shaping)
    if not ok then
      -- This message is tried later, and those after it wait until the feed
      -- has looked at the file.
      shaping_file.is_of_no_use(result)
      failed(result)
    end
    loaded = result
  end
  local ok, made = pcall(path_config, loaded, domain, ...)
  return ok and made or failed(made)
end

-- kumod's own traffic, on its way between queues and nodes.
local function is_internal(queue)
  return queue == 'null' or queue:find '%.kumomta%.internal$' ~= nil
end

local function delay(msg)
  if
    msg:get_meta 'reception_protocol' ~= 'LogRecord'
    and not is_internal(msg:queue_name())
  then
    require('policyd.hold').delay(msg)
  end
end

function mod.hold(msg)
  -- A raise here would leave the message on disk, and nobody's until a restart.
  local ok, problem = pcall(delay, msg)
  if not ok then
    require('policyd.report').trouble(
      'throttle',
      require('policyd.construct').reason(problem)
    )
  end
end

return mod
