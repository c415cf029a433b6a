--[[
Answers questions of tests/contract with what handlers give to kumod's
constructors, one line each, as the recorded answers have it.

    kumod --script --policy parity.lua -- stock|policyd QUESTIONS FILES…

FILES are a helper file of each kind for `stock`, and for `policyd` a policy
that sets it up and leaves its queue helper in package.loaded.queue_helper.
]]
local kumo = require 'kumo'

local handlers, given = {}, nil
local register = kumo.on

-- Single events are asked here, not by kumod.
function kumo.on(event, handler)
  if event:find '^get_' then
    handlers[event] = handler
  else
    register(event, handler)
  end
end

for _, name in ipairs {
  'make_listener_domain',
  'make_egress_pool',
  'make_egress_source',
} do
  local make = kumo[name]
  kumo[name] = function(params)
    given = kumo.json_encode(params)
    return make(params)
  end
end

local conn_meta = {
  get_meta = function(_, name)
    return name == 'received_from' and '192.0.2.1:5' or nil
  end,
}

local function ask(queue, question)
  given = nil
  if question.kind == 'listener_domain' then
    local made = handlers.get_listener_domain(
      question.domain,
      question.listener,
      conn_meta
    )
    -- The stock helper also makes one of each section that it reads.
    given = made and given or nil
  elseif question.kind == 'queue' then
    local options = queue:resolve_config(
      question.domain,
      question.tenant,
      question.campaign
    )
    kumo.make_queue_config(options)
    given = kumo.json_encode(options)
  else
    -- There is nothing to make of a name that is not known.
    local ok = pcall(handlers['get_' .. question.kind], question.name)
    given = ok and given or nil
  end
  return given
end

local function stock(listener_domains, sources, queues)
  kumo.on(
    'get_listener_domain',
    require('policy-extras.listener_domains'):setup { listener_domains }
  )
  require('policy-extras.sources'):setup { sources }
  return require('policy-extras.queue'):setup { queues }
end

register('main', function(which, questions, ...)
  local queue
  if which == 'stock' then
    queue = stock(...)
  else
    dofile(...)
    queue = require 'queue_helper'
  end
  for _, question in ipairs(kumo.serde.json_load(questions)) do
    print('ANSWER ' .. (ask(queue, question) or 'null'))
  end
end)
