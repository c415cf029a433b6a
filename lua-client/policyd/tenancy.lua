--[[
Whom a login may send for: its own tenant, which travels with the connection,
and over HTTP among the groups of kumod's AuthInfo.

    tenancy.group 'acme'          --> 'policyd:tenant:acme'
    tenancy.take(msg, auth_info)  -- before anything else is done with injected mail
    tenancy.of(msg)               --> 'acme', 'alice'; nil for mail of no login of ours
]]
local mod = {
  META = 'policyd_tenant',
}
local GROUP = 'policyd:tenant:'

function mod.group(tenant)
  return GROUP .. tenant
end

local function named(auth_info)
  for _, group in ipairs(auth_info.groups or {}) do
    if group:sub(1, #GROUP) == GROUP then
      return group:sub(#GROUP + 1)
    end
  end
end

-- Without a login, http_auth is the address of the peer.
local function is_of_a_login(msg)
  local module = package.loaded['policyd.smtp_auth']
  return module
    and module.CONFIGURED
    and module.CONFIGURED.is_http
    and msg:get_meta 'http_auth' ~= msg:get_meta 'received_from'
end

function mod.take(msg, auth_info)
  if type(auth_info) == 'table' then
    local tenant = named(auth_info)
    if tenant then
      msg:set_meta(mod.META, tenant)
    end
  elseif is_of_a_login(msg) then
    error(
      'policyd.queue: whose mail this is cannot be told; where logins over '
        .. "HTTP are policyd.smtp_auth's, call apply(msg, auth_info), with "
        .. 'what http_message_generated is given',
      0
    )
  end
end

function mod.of(msg)
  local tenant = msg:get_meta(mod.META)
  if tenant then
    return tenant, msg:get_meta 'authz_id' or msg:get_meta 'http_auth'
  end
end

return mod
