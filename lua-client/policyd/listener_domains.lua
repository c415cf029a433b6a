--[[
Listener domains: who may relay, and what becomes of bounces and complaints.

    local listener_domains = require('policyd.listener_domains')
    kumo.on('get_listener_domain', listener_domains:setup())

Instead of policy-extras.listener_domains and its files. A listener is known by
its address, `10.1.2.3:25`, or by the name in its meta:

    kumo.start_esmtp_listener { listen = '0:25', meta = { policyd_listener = 'mx' }, … }

(What it answers is in relaying.lua.) Two answers differ from the stock helper's: behind an exact name, a wildcard
above it is not out of reach; and while nobody can say, mail is put off (421).
]]
local kumo = require 'kumo'
local policyd = require 'policyd'

local mod = {}

function mod:setup(files)
  local problem = policyd.problem_with_setup(self, files)
  if problem then
    error('policyd.listener_domains: ' .. problem, 2)
  end
  mod.CONFIGURED = {
    get_data = function()
      return require('policyd.validation').listener_domains()
    end,
  }
  kumo.on('validate_config', function()
    require('policyd.validation').check_listener_domains()
  end)
  return function(domain, listener, conn_meta)
    return require('policyd.relaying').get_listener_domain(
      domain,
      listener,
      conn_meta
    )
  end
end

return mod
