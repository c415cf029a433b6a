--[[
Records on their way to a webhook: see log_hooks.lua.

    connection:send(msg)        -- batch_size 1: the record itself, as new_json sends it
    connection:send_batch(msgs) -- else: an array of records, of one too

2xx: done. 408, 425, 429, 5xx, no answer, and whatever cannot be decided now:
tried again later. Any other 4xx, and a webhook that is known to be gone: the
records are dropped with a line in the log, and kumod logs a Bounce of each.
]]
local kumo = require 'kumo'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local log_hooks = require 'policyd.log_hooks'
local report = require 'policyd.report'
local secrets = require 'policyd.secrets'
local webhooks = require 'policyd.webhooks'

local mod = {}
local Connection = {}
Connection.__index = Connection

local TRIED_AGAIN = { [408] = true, [425] = true, [429] = true }
local MAY_WANT_NEW_SECRETS = { [401] = true, [403] = true }
-- Secrets may come from far away, and a batch every few milliseconds.
local SECRETS_FOR = 60
local SHOWN = 200
local SHORTEST_SECRET = 4

-- Both end the delivery: kumod is told by a raise.
local function later(name, why)
  local text = string.format("webhook '%s': %s", name, why)
  report.trouble('webhook.' .. name, text .. '; its records wait')
  kumo.reject(400, 'policyd: ' .. text)
end

local function drop(name, why)
  local text = string.format("webhook '%s': %s", name, why)
  report.trouble('dropped.' .. name, text .. '; its records are dropped')
  kumo.reject(550, 'policyd: ' .. text)
end

function Connection:secret(name)
  local now = os.time()
  local known = self.secrets[name]
  if not known or now < known.at or now - known.at >= SECRETS_FOR then
    known = { text = secrets.text(name), at = now }
    self.secrets[name] = known
  end
  return known.text
end

local function signature(secret, text)
  local ok, made = pcall(kumo.digest.hmac_sha256, { key_data = secret }, text)
  if not ok then
    -- kumod's own error holds the key.
    error('its records cannot be signed', 0)
  end
  return 'sha256=' .. made.hex
end

function Connection:headers(webhook, body)
  local headers = { ['content-type'] = 'application/json' }
  for name, value in pairs(webhook.headers or {}) do
    local is_secret = type(value) == 'table'
    headers[name:lower()] = is_secret and self:secret(value.secret) or value
  end
  if webhook.secret then
    local at = tostring(os.time())
    local secret = self:secret(webhook.secret.secret)
    headers['policyd-timestamp'] = at
    headers['policyd-signature'] = signature(secret, at .. '.' .. body)
  end
  return headers
end

function Connection:client()
  self.http = self.http
    or kumo.http.build_client {
      timeout = '6 minutes', -- a webhook's own is shorter
      pool_idle_timeout = '60s',
      user_agent = 'policyd-lua/' .. handles.FORMAT,
    }
  return self.http
end

-- What an endpoint says may be what it was sent.
function Connection:without_secrets(text)
  for _, known in pairs(self.secrets) do
    local secret = known.text
    local from, to = text:find(secret, 1, true)
    while from and #secret >= SHORTEST_SECRET do
      text = text:sub(1, from - 1) .. '***' .. text:sub(to + 1)
      from, to = text:find(secret, from + 3, true)
    end
  end
  return text
end

-- Status, and what to say of it; raises where there was no answer.
function Connection:post(webhook, body)
  local request = self:client():post(webhook.url):timeout(webhook.timeout)
  for name, value in pairs(self:headers(webhook, body)) do
    request = request:header(name, value)
  end
  local response = request:body(body):send()
  local status = response:status_code()
  -- It has decided; whatever it adds is only for the log.
  local ok, text = pcall(response.text, response)
  text = ok and self:without_secrets(text):sub(1, SHOWN) or ''
  return status,
    string.format('it answers %d %s', status, (text:gsub('%c+', ' ')))
end

function Connection:deliver(webhook, body)
  local has_secrets = next(self.secrets) ~= nil
  local ok, status, said = pcall(self.post, self, webhook, body)
  if ok and MAY_WANT_NEW_SECRETS[status] and has_secrets then
    self.secrets = {}
    ok, status, said = pcall(self.post, self, webhook, body)
  end
  if not ok then
    later(webhook.name, construct.reason(status))
  elseif status >= 200 and status < 300 then
    return said
  elseif status >= 400 and status < 500 and not TRIED_AGAIN[status] then
    drop(webhook.name, said)
  end
  later(webhook.name, said)
end

function Connection:webhook()
  local ok, webhook, is_gone = pcall(webhooks.find, self.label)
  if ok and webhook then
    return webhook
  elseif ok and is_gone then
    drop(self.label, 'there is no such webhook any more')
  end
  later(self.label, 'nobody can say where it is')
end

-- What could not be said when the record came can perhaps be said now.
function Connection:for_somebody(msg, slot)
  local ok, webhook, is_known =
    pcall(webhooks.wanting, msg:get_meta 'log_record', slot)
  if ok and webhook then
    local is_batch = webhook.batch_size > 1
    local text = msg:get_data()
    return self:deliver(webhook, is_batch and '[' .. text .. ']' or text)
  elseif ok and is_known then
    return 'nobody is told of it'
  end
  later(self.label, 'nobody can say who is told')
end

function Connection:send(msg)
  local slot = webhooks.slot_of(self.label)
  if slot then
    return self:for_somebody(msg, slot)
  end
  return self:deliver(self:webhook(), msg:get_data())
end

function Connection:send_batch(msgs)
  local webhook = self:webhook()
  local records = {}
  for i, msg in ipairs(msgs) do
    records[i] = msg:get_data():gsub('%s+$', '')
  end
  return self:deliver(webhook, '[' .. table.concat(records, ',\n') .. ']')
end

function Connection:close()
  if self.http then
    self.http:close()
  end
end

function mod.connection(domain)
  local label = log_hooks.label_of(domain)
  return setmetatable({ label = label, secrets = {} }, Connection)
end

return mod
