--[[
Listener domains: who may relay, and what becomes of bounces and complaints.

    local listener_domains = require('policyd.listener_domains')
    kumo.on('get_listener_domain', listener_domains:setup())

Instead of policy-extras.listener_domains and its files. A listener is known by
its address, `10.1.2.3:25`, or by the name in its meta:

    kumo.start_esmtp_listener { listen = '0:25', meta = { policyd_listener = 'mx' }, … }

Two answers differ from the stock helper's: behind an exact name, a wildcard
above it is not out of reach; and while nobody can say, mail is put off (421).
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local policyd = require 'policyd'

local mod = {}

local function contains(list, value)
  for _, each in ipairs(list) do
    if each == value then
      return true
    end
  end
  return false
end

-- The address of `192.0.2.1:25` or `[2001:db8::1]:25`.
local function address_of(peer)
  return peer:match '^%[(.-)%]:%d+$' or peer:match '^(.-):%d+$'
end

-- Whoever has logged in as one of these may relay, from wherever that is.
local function allow_authorized(answer, conn_meta)
  local authorized = answer.relay_from_authz
  local authz_id = authorized and conn_meta:get_meta 'authz_id'
  if authz_id and contains(authorized, authz_id) then
    answer.relay_from = { address_of(conn_meta:get_meta 'received_from') }
  end
end

function mod.get_listener_domain(domain, listener, conn_meta)
  listener = conn_meta:get_meta 'policyd_listener' or listener
  local found = lookup.ask(kinds.listener_domain(domain, listener))
  if found.status == 'none' then
    return
  end
  if found.status == 'found' then
    allow_authorized(found.answer, conn_meta)
    local ok, made = construct.make('listener_domain', found.answer)
    if ok then
      return made
    end
    require('policyd.report').trouble('listener_domains', made)
  end
  -- Never nil, which would be a permanent 550.
  kumo.reject(451, '4.3.0 relaying policy is not available, try again later')
end

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
  return mod.get_listener_domain
end

return mod
