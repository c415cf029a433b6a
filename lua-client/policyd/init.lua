--[[
Live policy for KumoMTA, from a policyd service.

    local policyd = require 'policyd'
    policyd:setup {
      endpoints = { 'http://127.0.0.1:8085' },        -- tried in order
      token = '/opt/kumomta/etc/policyd.token',       -- a KeySource
      store = '/var/spool/kumomta/policyd/store.db',  -- last known good; directory 0700
    }
    kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
    require('policyd.sources'):setup()
    local queue_helper = require('policyd.queue'):setup() -- last

Also:
  secrets         { name = KeySource }: what rows may name, as {"secret": "name"}
  node            this node's name; the host's
  node_group      for sources and pools that differ between nodes
  store_key       a KeySource of 64 bytes, for private keys in the store
  on_unknown      what becomes of mail whose signing cannot be known: 'tempfail' or 'unsigned'
  epoch_interval  seconds between two bumps of the config epoch: 5
  max_stale       seconds for which what is not known to hold is still used: 7 days
  cache_capacity  answers of one kind kept in memory: 100,000

Needs KumoMTA 2026.05.12. Nothing here touches a disk or the network: every Lua
context runs it.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local OLDEST = '2026.05.12'
local NAME = '^[%w._-]+$'
-- 128 each by default; more pools than that would be asked for at every bump
-- and between.
local CAPACITY = 16384

local function is_key_source(value)
  return (type(value) == 'string' and value ~= '') or type(value) == 'table'
end

local function is_name(value)
  return type(value) == 'string' and #value <= 64 and value:find(NAME) ~= nil
end

local function is_positive(value)
  return type(value) == 'number' and value > 0 and value < 1e9
end

local function are_endpoints(value)
  if type(value) ~= 'table' or #value == 0 then
    return false
  end
  for _, endpoint in ipairs(value) do
    if
      type(endpoint) ~= 'string'
      or not endpoint:find '^https?://[^/@%s]+[^@%s]*$'
    then
      return false
    end
  end
  return true
end

local function are_secrets(value)
  if type(value) ~= 'table' then
    return false
  end
  for name, source in pairs(value) do
    if type(name) ~= 'string' or not is_key_source(source) then
      return false
    end
  end
  return true
end

local function is_one_of(...)
  local allowed = {}
  for _, value in ipairs { ... } do
    allowed[value] = true
  end
  return function(value)
    return allowed[value] == true
  end
end

local KEY_SOURCE = 'a KeySource: a file name, or a table'
local OPTIONS = {
  endpoints = {
    are_endpoints,
    'a list of URLs like http://127.0.0.1:8085, without user or password',
    is_required = true,
  },
  token = { is_key_source, KEY_SOURCE },
  store = {
    function(value)
      return type(value) == 'string' and value:sub(1, 1) == '/'
    end,
    'an absolute file name',
    is_required = true,
  },
  secrets = { are_secrets, 'a table from names to KeySources', default = {} },
  node = { is_name, '1 to 64 letters, digits, dots, underscores, hyphens' },
  node_group = {
    is_name,
    '1 to 64 letters, digits, dots, underscores, hyphens',
  },
  store_key = { is_key_source, KEY_SOURCE .. ' of 64 bytes' },
  on_unknown = {
    is_one_of('tempfail', 'unsigned'),
    "'tempfail' or 'unsigned'",
    default = 'tempfail',
  },
  epoch_interval = { is_positive, 'a number of seconds', default = 5 },
  max_stale = { is_positive, 'a number of seconds', default = 7 * 86400 },
  cache_capacity = {
    function(value)
      return is_positive(value) and math.type(value) == 'integer'
    end,
    'a whole number',
    default = 100000,
  },
}

local function known_options()
  local names = {}
  for name in pairs(OPTIONS) do
    table.insert(names, name)
  end
  table.sort(names)
  return table.concat(names, ', ')
end

-- Never with the value: it may be a secret put in the wrong place.
local function problem_with(options)
  if type(options) ~= 'table' then
    return 'it takes one table: policyd:setup { endpoints = … }'
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      return string.format(
        "there is no option '%s'; there are %s",
        tostring(name),
        known_options()
      )
    end
  end
  for name, option in pairs(OPTIONS) do
    local value = options[name]
    if value == nil and option.is_required then
      return string.format("the option '%s' is missing: %s", name, option[2])
    elseif value ~= nil and not option[1](value) then
      return string.format("the option '%s' has to be %s", name, option[2])
    end
  end
end

-- What is wrong with this kumod; nil if it is new enough.
function mod.problem_with_version(version)
  local date = version:match '^%d%d%d%d%.%d%d%.%d%d'
  if date and date < OLDEST or not (kumo.mpsc and kumo.counter_series) then
    return string.format(
      'KumoMTA %s or newer is needed, this is %s',
      OLDEST,
      version
    )
  end
end

local function configured(options)
  local config = {}
  for name, option in pairs(OPTIONS) do
    config[name] = options[name] == nil and option.default or options[name]
  end
  config.endpoints = {}
  for i, endpoint in ipairs(options.endpoints) do
    config.endpoints[i] = endpoint:gsub('/+$', '')
  end
  return config
end

local function register()
  local feed, writer = handles.name 'feed', handles.name 'writer'
  kumo.on(feed, function()
    require('policyd.feed').run()
  end)
  kumo.on(writer, function()
    require('policyd.writer').run()
  end)
  kumo.on('pre_init', function()
    if _VALIDATING_CONFIG then
      return
    end
    for _, cache in ipairs { 'egress_source_pools', 'egress_source_sources' } do
      kumo.set_lruttl_cache_capacity(cache, CAPACITY)
    end
    require('policyd.store_keeper').prepare()
    kumo.spawn_task { event_name = feed, args = { 1 } }
    kumo.spawn_task { event_name = writer, args = { 1 } }
  end)
  kumo.on('validate_config', function()
    require('policyd.validation').service()
  end)
end

function mod:setup(options)
  if self ~= mod then
    error('policyd: call it with a colon, policyd:setup { … }', 2)
  end
  local problem = mod.problem_with_version(kumo.version)
    or problem_with(options)
  if problem then
    error('policyd: setup: ' .. problem, 2)
  end
  if mod.CONFIGURED then
    error('policyd: setup was called before', 2)
  end
  mod.CONFIGURED = configured(options)
  register()
end

-- For the modules beside this one: what is wrong with being set up now, by
-- their own setup that was called with this.
function mod.problem_with_setup(module, argument)
  if not mod.CONFIGURED then
    return 'policyd:setup comes first'
  elseif module.CONFIGURED then
    return 'setup was called before'
  elseif argument ~= nil then
    return 'there are no files to name: policyd import reads them'
  end
end

return mod
