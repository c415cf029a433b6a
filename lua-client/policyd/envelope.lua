--[[
Answers as the service sends them, read without losing how they were written.

    envelope.read(text)               --> { status, answer = text, tags, valid_until, with = text }
    envelope.labelled(got, response)  --> the same with label, and with the answers that came along

nil for what is no answer.
]]
local kumo = require 'kumo'
local json_text = require 'policyd.json_text'

local mod = {}

function mod.parsed(text)
  local ok, value = pcall(kumo.json_parse, text)
  if ok and type(value) == 'table' then
    return value
  end
end

function mod.read(text)
  local members = json_text.members(text)
  local tags = members and members.tags and mod.parsed(members.tags)
  if not tags or (members.answer and not mod.parsed(members.answer)) then
    return nil
  end
  return {
    status = members.answer and 'found' or 'none',
    answer = members.answer,
    tags = tags,
    valid_until = members.valid_until and tonumber(members.valid_until),
    with = members.with,
  }
end

function mod.labelled(got, response)
  got.label, got.position = response.number, response.position
  got.stale = response.stale or nil
  local parts = got.with and json_text.members(got.with) or {}
  got.with = {}
  for path, text in pairs(parts) do
    local part = mod.read(text)
    if part and part.answer then
      part.label = got.label
      part.stale, part.with = got.stale, nil
      got.with[path] = part
    end
  end
  return got
end

return mod
