--[[
Traffic shaping: how fast, and over how many connections, mail goes to whom.

    kumo.on('get_egress_path_config', require('policyd.shaping'):setup())

or with KumoMTA's traffic shaping automation:

    local shaper = require('policyd.shaping'):setup_with_automation {
      publish = { 'http://10.0.0.1:8008' },
      subscribe = { 'http://10.0.0.1:8008' },
    }
    kumo.on('get_egress_path_config', shaper.get_egress_path_config)
    kumo.on('init', function() shaper.setup_publish() end)

Instead of policy-extras.shaping and its files; the options are its own, less
extra_files. KumoMTA's packaged shaping file comes first, then the rows, as a
file beside the node store that the feed keeps (shaping_file.lua); then what
the TSA daemon says. Only publish and subscribe load policy-extras.shaping.

Without that file nobody can say how fast mail may go, so it waits: until the
service was reached once, or when what is there is of no use.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local policyd = require 'policyd'

local mod = {
  PACKAGED = '/opt/kumomta/share/policy-extras/shaping.toml',
  -- What the rows' own file calls a secret (policy/shaping.py of the service).
  SECRET = 'policyd.secret',
}

local function path_config(...)
  return require('policyd.egress_path').get_egress_path_config(...)
end

local function register()
  kumo.on('pre_init', function()
    require('policyd.shaping_file').prepare()
  end)
  kumo.on('throttle_insert_ready_queue', function(msg)
    if handles.shaped:sum() ~= 1 then
      require('policyd.egress_path').hold(msg)
    end
  end)
  kumo.on(mod.SECRET, function(name)
    return require('policyd.secrets').text(name)
  end)
  kumo.on('validate_config', function()
    require('policyd.shaping_validation').check()
  end)
end

local function set_up(options, stock)
  mod.CONFIGURED = {
    stock = stock,
    options = options,
    get_egress_path_config = path_config,
    setup_publish = stock and stock.setup_publish or function() end,
    load_shaping_data = stock and stock.load_shaping_data or function()
      return require('policyd.egress_path').shaping()
    end,
  }
  register()
  return mod.CONFIGURED
end

function mod:setup(files)
  local problem = policyd.problem_with_setup(self, files)
  if problem then
    error('policyd.shaping: ' .. problem, 2)
  end
  return set_up({}).get_egress_path_config
end

function mod:setup_with_automation(options)
  local automation = require 'policyd.shaping_automation'
  local problem = policyd.problem_with_setup(self)
    or automation.problem_with(options)
  if problem then
    error('policyd.shaping: ' .. problem, 2)
  end
  return set_up(options, automation.stock(options))
end

return mod
