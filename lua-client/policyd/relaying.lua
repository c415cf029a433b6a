--[[
What get_listener_domain answers: see listener_domains.lua, which hands it out.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local kinds = require 'policyd.kinds'
local lookup = require 'policyd.lookup'
local names = require 'policyd.names'

local mod = {}

local function contains(list, value)
  for _, each in ipairs(list) do
    if each == value then
      return true
    end
  end
  return false
end

-- Whoever has logged in as one of these may relay, from wherever that is.
local function allow_authorized(answer, conn_meta)
  local authorized = answer.relay_from_authz
  local authz_id = authorized and conn_meta:get_meta 'authz_id'
  if authz_id and contains(authorized, authz_id) then
    answer.relay_from = { names.address(conn_meta:get_meta 'received_from') }
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

return mod
