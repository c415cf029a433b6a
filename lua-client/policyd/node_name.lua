--[[
How this node is called: by setup's `node`, else by the host's name.

    require('policyd.node_name').name()
]]
local mod = {}

local function hostname()
  local file = io.open '/proc/sys/kernel/hostname'
  local name = file and file:read 'l'
  if file then
    file:close()
  end
  return name or os.getenv 'HOSTNAME' or 'unnamed'
end

local known

function mod.name()
  if not known then
    local named = require('policyd').CONFIGURED.node or hostname()
    known = named:gsub('[^%w._-]', '-'):sub(1, 64)
  end
  return known
end

return mod
