--[[
Which webhooks there are, and who is told of a record: see log_hooks.lua.

    webhooks.enqueue(msg, slot)    -- should_enqueue_log_record, for one of our hooks
    webhooks.find 'acme'           --> its row; nil, and whether it is known to be gone
    webhooks.wanting(record, slot) --> the row of who is told of it; nil, and whether that is known

While nobody can say whom there is to be told, records wait for whoever will
turn out to be in the slot. What is known goes on holding through an outage.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local kinds = require 'policyd.kinds'
local log_hooks = require 'policyd.log_hooks'
local lookup = require 'policyd.lookup'
local report = require 'policyd.report'
local webhook_slots = require 'policyd.webhook_slots'

local mod = {}
-- No row has such a name.
local SOMEBODY = '_'
local DEFAULTS = { batch_size = 100, max_batch_latency = '1s' }

-- Rows as they are worked with, in the order of their names.
function mod.read(answer)
  local list = answer and answer.webhooks or {}
  for _, webhook in ipairs(list) do
    webhook.wants = {}
    for _, event in ipairs(webhook.events) do
      webhook.wants[event] = true
    end
  end
  return list
end

local function assign(list)
  local most = log_hooks.CONFIGURED.options.slots
  local left = webhook_slots.assign(list, most, webhook_slots.held)
  if #left > 0 then
    -- Whoever came first may have a slot where others would fit better.
    left = webhook_slots.assign(list, most)
  end
  for _, webhook in ipairs(list) do
    webhook_slots.hold(webhook)
  end
  if #left > 0 then
    report.trouble(
      'slots',
      string.format(
        "policyd.log_hooks has too few slots (%d): webhook '%s' is told of nothing",
        most,
        left[1].name
      )
    )
  end
end

-- By the first letter of a unit.
local SECONDS = { h = 3600, m = 60, s = 1 }

-- Whole seconds of '1m 30s', at least as many.
local function seconds_of(text)
  local seconds = 0
  for number, unit in text:gmatch '([%d.]+) *(%a+)' do
    local is_part = unit:find '^[num]s'
    local length = is_part and 0.001 or SECONDS[unit:sub(1, 1)] or 0
    seconds = seconds + tonumber(number) * length
  end
  return math.ceil(seconds)
end

local answered, known

-- What is known now, and the answer that it comes from. Leave both as they are.
local function current()
  local now = lookup.keep(kinds.webhooks())
  if now ~= answered then
    local list = mod.read(now.answer)
    local by_name, by_slot = {}, {}
    assign(list)
    for _, webhook in ipairs(list) do
      by_name[webhook.name] = webhook
      if webhook.slot then
        by_slot[webhook.slot] = by_slot[webhook.slot] or {}
        table.insert(by_slot[webhook.slot], webhook)
      end
    end
    answered, known = now, { by_name = by_name, by_slot = by_slot }
  end
  return known, now
end

function mod.find(name)
  local now, found = current()
  local webhook = now.by_name[name]
  if webhook then
    return webhook
  end
  return nil, found.status ~= 'unknown' and not found.stale
end

-- How long its batches may be waited for, in seconds.
function mod.latency(label)
  local ok, webhook = pcall(mod.find, label)
  return ok and webhook and seconds_of(webhook.max_batch_latency) or 0
end

-- A tenant's name may stand in the queue's name only.
local function tenant_of(record)
  local before = record.queue:match '^([^@]*)@'
  return record.meta.tenant or (before and before:match '[^:]*$')
end

local function first_of(list, record)
  for _, webhook in ipairs(list or {}) do
    if
      webhook.wants[record.type]
      and (not webhook.tenant or webhook.tenant == tenant_of(record))
    then
      return webhook
    end
  end
end

function mod.wanting(record, slot)
  local now, found = current()
  return first_of(now.by_slot[slot], record), found.status ~= 'unknown'
end

-- The slot of records that wait for somebody; nil for another queue's label.
function mod.slot_of(label)
  local slot = label:match('^' .. SOMEBODY .. '(%d+)$')
  return slot and math.tointeger(tonumber(slot))
end

local function label_for(msg, slot)
  local now, found = current()
  local is_unknown = found.status == 'unknown'
  if not is_unknown and not now.by_slot[slot] then
    return nil
  end
  local record = msg:get_meta 'log_record'
  if record.reception_protocol == 'LogRecord' then
    return nil
  elseif is_unknown then
    return SOMEBODY .. slot
  end
  local webhook = first_of(now.by_slot[slot], record)
  return webhook and webhook.name
end

function mod.enqueue(msg, slot)
  local ok, label = pcall(label_for, msg, slot)
  if not ok then
    lookup.failed(label)
    label = SOMEBODY .. slot
  end
  if not label then
    return false
  end
  msg:set_meta('queue', log_hooks.queue_of(label))
  -- They are those of the mail, whose rates and statistics this is not.
  msg:set_meta('tenant', nil)
  msg:set_meta('campaign', nil)
  return true
end

local function params_of(batch, constructor)
  local params = { retry_interval = '1m', max_retry_interval = '20m' }
  for name, value in pairs(log_hooks.CONFIGURED.options.queue_config) do
    params[name] = value
  end
  params.protocol = {
    custom_lua = {
      constructor = constructor,
      batch_size = batch.batch_size,
      min_batch_size = batch.batch_size,
      max_batch_latency = batch.max_batch_latency,
    },
  }
  return params
end

-- Without a queue the record would stay on disk, and nobody's until a restart:
-- never a raise.
function mod.queue_config(label, constructor)
  if mod.slot_of(label) then
    return kumo.make_queue_config(params_of({ batch_size = 1 }, constructor))
  end
  local ok, made = pcall(function()
    return kumo.make_queue_config(
      params_of(mod.find(label) or DEFAULTS, constructor)
    )
  end)
  if ok then
    return made
  end
  report.trouble('webhook', construct.reason(made))
  return kumo.make_queue_config(params_of(DEFAULTS, constructor))
end

return mod
