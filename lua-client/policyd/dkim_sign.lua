--[[
DKIM signatures, from rows and from keys that live with the service.

    local dkim_signer = require('policyd.dkim_sign'):setup()

    kumo.on('smtp_server_message_received', function(msg)
      queue_helper:apply(msg)
      dkim_signer(msg) -- last
    end)

    kumo.on('http_message_generated', function(msg)
      queue_helper:apply(msg)
      dkim_signer(msg)
    end)

Instead of policy-extras.dkim_sign and its files: what signs, with what, and in
which order is as there; the domain of the From: header is compared in lower
case. (signing.lua does it, private_keys.lua has the keys.) The token needs the
scope dkim, and the service TLS unless it is on this machine.

A message that nothing signs goes out unsigned. One whose signatures are not
known, or cannot be made, never does: over SMTP it is put off with 451, and what
was injected over HTTP is taken and held (policyd.pending), because kumod would
drop it. `on_unknown = 'unsigned'` of policyd:setup lets it go instead, with
those signatures that can be made.

Keys are kept in memory, and in the store if there is a store_key; without one,
a kumod that is restarted during an outage cannot sign until it is over. A key is
found by its key_id, so a new one is used from the next message on.
]]
local kumo = require 'kumo'
local pending = require 'policyd.pending'
local policyd = require 'policyd'

local mod = {}

local function raise_capacities()
  -- 1024 each by default; a signer that is not there costs a Lua context.
  for _, cache in ipairs { 'dkim_signer_cache', 'dkim_key_cache' } do
    kumo.set_lruttl_cache_capacity(cache, policyd.CONFIGURED.cache_capacity)
  end
end

function mod:setup(files)
  local problem = policyd.problem_with_setup(self, files)
  if problem then
    error('policyd.dkim_sign: ' .. problem, 2)
  end
  mod.CONFIGURED = {
    data_files = {},
    get_data = function()
      return require('policyd.dkim_validation').signatures()
    end,
  }
  kumo.on('policyd.dkim_key', function(...)
    return require('policyd.private_keys').read(...)
  end)
  kumo.on('pre_init', raise_capacities)
  pending.step('dkim', function(msg)
    return require('policyd.signing').finish(msg)
  end)
  kumo.on('validate_config', function()
    require('policyd.dkim_validation').check()
  end)
  return function(msg)
    require('policyd.signing').sign(msg)
  end
end

return mod
