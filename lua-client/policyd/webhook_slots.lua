--[[
Which webhook is told by which log hook of kumod: see log_hooks.lua.

    slots.assign(list, 2)             -- webhook.slot of each; gives back those that have none
    slots.assign(list, 2, slots.held) -- the same, whoever has one keeps it

kumod asks once for each hook, at different times, so a webhook keeps its slot
while the process lives, whoever else comes and goes. Two that may both be told
of one record are never in the same slot.
]]
local handles = require 'policyd.handles'

local mod = {}

local function may_share_a_record(one, other)
  if one.tenant and other.tenant and one.tenant ~= other.tenant then
    return false
  end
  for event in pairs(one.wants) do
    if other.wants[event] then
      return true
    end
  end
  return false
end

local function is_free(slot, webhook, placed)
  for _, other in ipairs(placed) do
    if other.slot == slot and may_share_a_record(other, webhook) then
      return false
    end
  end
  return true
end

local function first_free(webhook, most, placed)
  for slot = 1, most do
    if is_free(slot, webhook, placed) then
      return slot
    end
  end
end

local function seat(webhook)
  return handles.series('slot.' .. webhook.name)
end

-- The one that it has in this process; 0 for none.
function mod.held(webhook)
  return seat(webhook):sum()
end

function mod.hold(webhook)
  local at = seat(webhook)
  if webhook.slot and at:sum() ~= webhook.slot then
    at:observe(webhook.slot)
  end
end

function mod.assign(list, most, held)
  local placed, others, left = {}, {}, {}
  for _, webhook in ipairs(list) do
    local slot = held and held(webhook) or 0
    local stays = slot > 0 and slot <= most and is_free(slot, webhook, placed)
    webhook.slot = stays and slot or nil
    table.insert(stays and placed or others, webhook)
  end
  for _, webhook in ipairs(others) do
    webhook.slot = first_free(webhook, most, placed)
    table.insert(webhook.slot and placed or left, webhook)
  end
  return left
end

return mod
