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
  auth_max_stale  seconds for which a login that was good goes on without the service: 3600
  cache_capacity  answers of one kind kept in memory: 100,000

Needs KumoMTA 2026.05.12. Nothing here touches a disk or the network: every Lua
context runs it.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local DEFAULTS = {
  secrets = {},
  on_unknown = 'tempfail',
  epoch_interval = 5,
  max_stale = 7 * 86400,
  auth_max_stale = 3600,
  cache_capacity = 100000,
}
-- 128 each by default; more pools than that would be asked for again and
-- again.
local CAPACITY = 16384

local function digest(value)
  local sum = 7
  if type(value) == 'table' then
    for key, inner in pairs(value) do
      sum = sum + digest(key) * 31 ~ digest(inner)
    end
  else
    local text = type(value) .. tostring(value)
    for i = 1, #text do
      sum = sum * 31 + text:byte(i) & 0x3fffffff
    end
  end
  return sum & 0x3fffffff
end

-- Compiling the checks costs more than all else here, and contexts come by the
-- thousand: what one of them has found good is good for the others.
local function problem_with(options)
  local is_new_enough = kumo.counter_series and kumo.mpsc
  local good = is_new_enough and digest { kumo.version, options }
  if good and handles.checked:sum() == good then
    return nil
  end
  local checks = require 'policyd.options'
  local problem = checks.problem_with_version(kumo.version)
    or checks.problem_with(options)
  if not problem then
    handles.checked:observe(good)
  end
  return problem
end

local function configured(options)
  local config = {}
  for name, value in pairs(DEFAULTS) do
    config[name] = value
  end
  for name, value in pairs(options) do
    config[name] = value
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
  local problem = problem_with(options)
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
