--[[
Egress sources and pools.

    require('policyd.sources'):setup()

Instead of policy-extras.sources and its files; registers get_egress_source and
get_egress_pool (egress.lua). Other helpers find what it knows under the stock
module's name, too: require('policy-extras.sources').CONFIGURED.get_data().

While nobody can say what a pool is, it has no entries and its mail is held
(policyd.queue); a pool never raises, because kumod then leaves its messages
alone until a restart.
]]
local kumo = require 'kumo'
local policyd = require 'policyd'

local mod = {}
local STOCK = 'policy-extras.sources'

function mod:setup(files)
  local problem = policyd.problem_with_setup(self, files)
  if problem then
    error('policyd.sources: ' .. problem, 2)
  end
  mod.CONFIGURED = {
    data_files = {},
    get_data = function()
      return require('policyd.validation').sources()
    end,
  }
  package.loaded[STOCK] = package.loaded[STOCK] or mod
  kumo.on('get_egress_source', function(name)
    return require('policyd.egress').get_egress_source(name)
  end)
  kumo.on('get_egress_pool', function(name)
    return require('policyd.egress').get_egress_pool(name)
  end)
  kumo.on('validate_config', function()
    require('policyd.validation').check_sources()
  end)
end

return mod
