--[[
What smtp_server_auth_plain and http_server_validate_auth_basic answer: see
smtp_auth.lua, which hands them out.

    logins.check(username, password, address)
      --> { username, tenant }, or false, or nil: nobody can say

A password is an argument of nothing that remembers or logs its arguments, and
in no error.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local known = require 'policyd.known'
local lookup = require 'policyd.lookup'
local names = require 'policyd.names'
local report = require 'policyd.report'
local tenancy = require 'policyd.tenancy'
local verifiers = require 'policyd.verifiers'

local mod = {}
local UNAVAILABLE =
  '4.7.0 logins cannot be checked at the moment, try again later'
local BREAKER_FOR = 10
local ROUNDS = 2
-- kumod does not tell where HTTP comes from; nobody comes from here.
local ANYWHERE = '0.0.0.0'

-- What the service says, by the one rule; nil where it does not.
local function asked(attempt, now)
  local client = require 'policyd.client'
  for _ = 1, ROUNDS do
    local changes, era = lookup.known_changes(), handles.era:sum()
    local said, problem, is_there =
      client.log_in(attempt, changes and changes.position)
    if not said then
      if not is_there then
        handles.breaker:observe(now + BREAKER_FOR)
      end
      report.trouble(
        is_there and 'service.login' or 'service',
        'a login got no answer: ' .. problem
      )
      return nil
    end
    changes = lookup.known_changes()
    if
      handles.era:sum() == era
      and not (changes and known.outdated(said, changes))
    then
      return said
    end
  end
end

local function checked(attempt)
  local now = os.time()
  local said = not handles.breaker_open(now) and asked(attempt, now)
  if not said then
    return verifiers.check(attempt, now)
  elseif not said.authenticated then
    return false
  end
  if not pcall(verifiers.keep, attempt, said, now) then
    report.trouble('login', 'a login cannot be kept for an outage')
  end
  return { username = said.username, tenant = said.tenant }
end

function mod.check(username, password, address)
  if not password or password == '' or username == '' then
    -- No credential is like that.
    return false
  end
  local ok, who = pcall(checked, {
    username = username,
    password = password,
    peer = address,
  })
  if ok then
    return who
  end
  -- What was raised may quote what was given.
  report.trouble('login', 'a login could not be checked')
end

function mod.smtp(authz, authc, password, conn_meta)
  local address = names.address(conn_meta:get_meta 'received_from' or '')
  local who = mod.check(authc, password, address or ANYWHERE)
  if who == nil then
    kumo.reject(454, UNAVAILABLE)
  elseif not who or (authz ~= authc and authz ~= who.username) then
    return false
  end
  conn_meta:set_meta(tenancy.META, who.tenant)
  return {
    identities = {
      {
        identity = who.username,
        context = 'SmtpAuthPlainAuthorization',
      },
      {
        identity = who.username,
        context = 'SmtpAuthPlainAuthentication',
      },
    },
    groups = { tenancy.group(who.tenant) },
  }
end

function mod.http(username, password)
  local who = mod.check(username, password, ANYWHERE)
  if who == nil then
    error('policyd: ' .. UNAVAILABLE, 0)
  end
  return who
    and {
      identities = {
        { identity = who.username, context = 'HttpBasicAuth' },
      },
      groups = { tenancy.group(who.tenant) },
    }
end

return mod
