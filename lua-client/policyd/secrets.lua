--[[
What rows name and only this node knows: the secrets of policyd:setup.

    secrets.text 'proxy_password'   -- what is there now, without a newline at its end
    secrets.has 'proxy_password'

text raises when the name is not in setup, or nothing can be read there; the
error names the secret and holds nothing of it.
]]
local kumo = require 'kumo'

local mod = {}

local function source_of(name)
  return require('policyd').CONFIGURED.secrets[name]
end

function mod.has(name)
  return source_of(name) ~= nil
end

function mod.text(name)
  local source = source_of(name)
  if not source then
    error(
      string.format(
        "the secret '%s' is not in the secrets of policyd:setup on this node",
        name
      ),
      0
    )
  end
  local ok, text = pcall(kumo.secrets.load, source)
  if not ok then
    -- kumod's own error may hold the source, and with it the secret.
    error(string.format("the secret '%s' cannot be read", name), 0)
  end
  -- What an editor leaves at the end of a file.
  return (text:gsub('[\r\n]+$', ''))
end

return mod
