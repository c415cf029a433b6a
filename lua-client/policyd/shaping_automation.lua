--[[
The options of policyd.shaping, and KumoMTA's own helper for what only that can
do: see shaping.lua.

    automation.problem_with(options)  -- a sentence, or nil
    automation.stock(options)         -- its shaper; nil where nothing is published or subscribed to
]]
local policyd = require 'policyd'

local mod = {}
-- What policy-extras.shaping takes, less extra_files.
local OPTIONS = {
  no_default_files = 'boolean',
  publish = 'table',
  subscribe = 'table',
  pre_filter = 'boolean',
  skip_log_record_types = 'table',
  additional_skip_log_record_types = 'table',
  cache_ttl = 'string',
  retry_shaping_data_fetch_on_populate_timeout = 'boolean',
  shaping_data_populate_timeout = 'string',
  allow_stale_shaping_data = 'boolean',
  tsa_queue_config = 'table',
  back_pressure = 'number',
  publish_timeout = 'string',
  publish_pool_idle_timeout = 'string',
  publish_connection_verbose = 'boolean',
  load_validation_options = 'table',
  validation_options = 'table',
}

function mod.problem_with(options)
  if type(options) ~= 'table' then
    return 'setup_with_automation takes a table'
  end
  for name, value in pairs(options) do
    if name == 'extra_files' then
      return policyd.problem_with_setup({}, value)
    elseif not OPTIONS[name] then
      return string.format("there is no option '%s'", tostring(name))
    elseif type(value) ~= OPTIONS[name] then
      return string.format(
        "the option '%s' has to be a %s",
        name,
        OPTIONS[name]
      )
    end
  end
end

local function automated(options)
  local theirs = {}
  for name, value in pairs(options) do
    theirs[name] = value
  end
  theirs.extra_files = { require('policyd.shaping_file').path() }
  local stock = require 'policy-extras.shaping'
  local shaper = stock:setup_with_automation(theirs)
  if _VALIDATING_CONFIG then
    -- policyd.shaping_validation checks what is there, and what will be.
    shaper._file_names = {}
  end
  return shaper
end

local function has_some(list)
  return list ~= nil and #list > 0
end

function mod.stock(options)
  if has_some(options.publish) or has_some(options.subscribe) then
    return automated(options)
  end
end

return mod
