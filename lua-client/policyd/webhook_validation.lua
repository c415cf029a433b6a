--[[
What `kumod --validate` checks of policyd.log_hooks: see validation.lua.
]]
local client = require 'policyd.client'
local kumo = require 'kumo'
local log_hooks = require 'policyd.log_hooks'
local secrets = require 'policyd.secrets'
local validation = require 'policyd.validation'
local webhook_slots = require 'policyd.webhook_slots'
local webhooks = require 'policyd.webhooks'

local mod = {}

local function rows()
  local got, problem = client.answer '/webhooks'
  if not got then
    error(problem, 0)
  end
  return webhooks.read(got.answer and kumo.json_parse(got.answer))
end

local function check_secret(webhook, reference)
  if type(reference) == 'table' then
    local ok, problem = pcall(secrets.text, reference.secret)
    if not ok then
      validation.fail(
        string.format("webhook '%s': %s", webhook.name, problem)
      )
    end
  end
end

local function check_slots(list)
  local most = log_hooks.CONFIGURED.options.slots
  for _, webhook in ipairs(webhook_slots.assign(list, most)) do
    validation.fail(
      string.format(
        "webhook '%s' would be told of nothing: more may match one record than policyd.log_hooks has slots (%d)",
        webhook.name,
        most
      )
    )
  end
end

local function note_others()
  local stock = package.loaded['policy-extras.log_hooks']
  for name in pairs(stock and stock.CONFIGURED or {}) do
    print(
      string.format(
        "policyd: (not counted) policy-extras.log_hooks has the hook '%s': it is told, too",
        name
      )
    )
  end
end

function mod.check()
  note_others()
  validation.checking('webhooks', function()
    local list = rows()
    check_slots(list)
    for _, webhook in ipairs(list) do
      check_secret(webhook, webhook.secret)
      for _, value in pairs(webhook.headers or {}) do
        check_secret(webhook, value)
      end
    end
  end)
end

return mod
