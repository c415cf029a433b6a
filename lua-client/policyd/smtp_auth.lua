--[[
Logins: customers' passwords, checked by the service.

    local smtp_auth = require('policyd.smtp_auth'):setup()
    kumo.on('smtp_server_auth_plain', smtp_auth.smtp_server_auth_plain)

    -- And for HTTP injection; then mail has to say who it is from:
    kumo.on(
      'http_server_validate_auth_basic',
      smtp_auth.http_server_validate_auth_basic
    )
    kumo.on('http_message_generated', function(msg, auth_info)
      queue_helper:apply(msg, auth_info)
      …
    end)

(What they answer is in logins.lua.) A login sends for its own tenant alone:
queue_helper:apply takes that one where a message names none, and refuses one
that names another. The session's authz_id is the login's username, as `require_authz`
of a tenant lists it; nobody can act as another. The token needs the scope auth,
and the service TLS unless it is on this machine.

While the service cannot say, SMTP is told 454 and HTTP 500, and nobody that a
password is wrong. With a store_key, a login that was good on this node before
goes on for `auth_max_stale` seconds (policyd:setup; an hour), from a salted
verifier in the store (verifiers.lua); a change of its row ends that at once. The
password itself is kept nowhere.

kumod writes what a client sent as its password into its diagnostic log when the
HTTP handler cannot say. So that it does not, the log's filter leaves this out,
unless KUMOD_LOG or the policy sets another one; add LEFT_OUT to that.

kumod keeps what the HTTP handler said for a minute, and does not tell it where
a client is: a credential that is good for some networks only is good for none
there.
]]
local kumo = require 'kumo'
local policyd = require 'policyd'

local mod = {
  LEFT_OUT = 'kumo_server_common::http_server::auth=off',
}
-- kumod's own, with the errors of everything else.
local FILTER = 'error,kumod=info,config=info,kumo_server_common=info,'
  .. 'kumo_server_runtime=info,lruttl=info,mod_memoize=info,spool=info,'
  .. 'lua=info,kumo_api_types=info,'
  .. mod.LEFT_OUT

local function smtp_server_auth_plain(...)
  return require('policyd.logins').smtp(...)
end

local function http_server_validate_auth_basic(...)
  return require('policyd.logins').http(...)
end

-- Whether logins over HTTP are ours is known from the handler being taken.
local function handlers()
  local all = { smtp_server_auth_plain = smtp_server_auth_plain }
  return setmetatable(all, {
    __index = function(_, event)
      if event == 'http_server_validate_auth_basic' then
        mod.CONFIGURED.is_http = true
        return http_server_validate_auth_basic
      end
    end,
  })
end

local function keep_passwords_out_of_the_log()
  if mod.CONFIGURED.is_http and not os.getenv 'KUMOD_LOG' then
    kumo.set_diagnostic_log_filter(FILTER)
  end
end

function mod:setup(argument)
  local problem = policyd.problem_with_setup(self, argument)
  if problem then
    error('policyd.smtp_auth: ' .. problem, 2)
  end
  mod.CONFIGURED = { is_http = false }
  kumo.on('pre_init', function()
    if not _VALIDATING_CONFIG then
      keep_passwords_out_of_the_log()
    end
  end)
  kumo.on('validate_config', function()
    require('policyd.login_validation').check()
  end)
  return handlers()
end

return mod
