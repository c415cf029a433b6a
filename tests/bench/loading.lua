-- What it costs to load modules into a context, and to call what policies call at file scope: the median of some rounds, in seconds of
-- processor time. Handlers are not registered, because a context may do that once only.
local kumo = require 'kumo'

local function forget()
  for name in pairs(package.loaded) do
    if name:find '^policyd' or name:find '^policy%-extras' then
      package.loaded[name] = nil
    end
  end
end

return function(rounds, seconds, load)
  kumo.on = function() end
  local times = {}
  for i = 1, rounds do
    forget()
    collectgarbage()
    local began = seconds()
    load()
    times[i] = seconds() - began
  end
  table.sort(times)
  return times[#times // 2 + 1]
end
