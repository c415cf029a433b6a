--[[
What `kumod --validate` checks of logins: that the token may ask about them, and
what an outage would mean.
]]
local client = require 'policyd.client'
local validation = require 'policyd.validation'

local mod = {}

-- An attempt that is nobody's: it is answered, and counted against nobody.
local NOBODYS = { username = '', password = '', peer = '127.0.0.1' }

function mod.check()
  validation.check_store_key 'nobody can log in during an outage'
  validation.checking('logins', function()
    local said, problem = client.log_in(NOBODYS)
    if not said then
      error(problem, 0)
    end
  end)
end

return mod
