--[[
What goes wrong, told twice: in kumod's log, and to /nodes by way of the feed.

    report.trouble('store', 'the store cannot be read: …')

One line per topic and minute and process, because an outage comes to every
handler at once. A topic is a fixed word, never a domain.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local EVERY = 60

function mod.trouble(topic, text)
  local now = os.time()
  local said = handles['said.' .. topic]
  local since = now - said:sum()
  if since >= 0 and since < EVERY then
    return
  end
  said:observe(now)
  text = text:gsub('%c', ' '):sub(1, 400)
  kumo.log_error('policyd: ' .. text)
  pcall(function()
    handles.queue('reports'):try_send(text)
  end)
end

return mod
