--[[
What `kumod --validate` checks: that the service is there and lets this node
ask, and that kumod takes every row as it is.

An unreachable service fails the validation, because nothing can be said then;
with POLICYD_VALIDATE=offline it is a warning, and what needs no service is
checked all the same.
]]
local kumo = require 'kumo'
local client = require 'policyd.client'
local construct = require 'policyd.construct'
local names = require 'policyd.names'
local policyd = require 'policyd'

local mod = {}
local BATCH = 500
local is_reachable

-- For the checks of modules that have a file of their own for them, too.
function mod.fail(text)
  kumo.validation_failed()
  print('policyd: ' .. text)
end

-- No position is so; who may report is told that (400), who may not is not
-- looked at (403).
local NO_REPORT = { applied = '?' }

local function check_reports()
  local _, problem =
    client.report(require('policyd.node_name').name(), NO_REPORT)
  if problem and problem:find('status 403', 1, true) then
    mod.fail 'the token has not the scope status: nobody would see what this node has applied'
  end
end

function mod.service()
  is_reachable = false
  for _, each in ipairs(client.each '/queue-settings') do
    if each.got then
      is_reachable = true
    else
      local text = string.format('no answer from %s', each.problem)
      if os.getenv 'POLICYD_VALIDATE' == 'offline' then
        print('policyd: (not counted, offline) ' .. text)
      else
        mod.fail(
          text
            .. '; policy cannot be checked without it. '
            .. 'POLICYD_VALIDATE=offline checks the rest.'
        )
      end
    end
  end
  local token = policyd.CONFIGURED.token
  if token and not pcall(kumo.secrets.load, token) then
    mod.fail 'the token cannot be read'
  elseif is_reachable then
    check_reports()
  end
end

local function listed(kind)
  local tags, after = {}, nil
  repeat
    local page, problem = client.names(kind, after)
    if not page then
      error(problem, 0)
    end
    table.move(page.names, 1, #page.names, #tags + 1, tags)
    after = page.next
  until not after
  return tags
end

-- Calls `each(answer, parts)` for every document of a kind, with the unescaped
-- parts of its tag.
function mod.documents(kind, path_of, each)
  local tags = listed(kind)
  for from = 1, #tags, BATCH do
    local paths, parts_at = {}, {}
    for i = from, math.min(from + BATCH - 1, #tags) do
      local parts = require('policyd.tags').parts(tags[i])
      local path = path_of(parts)
      if path then
        table.insert(paths, path)
        parts_at[path] = parts
      end
    end
    local answers, problem = {}, nil
    if #paths > 0 then
      answers, problem = client.batch(paths, nil, 30.0)
    end
    if not answers then
      error(problem, 0)
    end
    for path, got in pairs(answers) do
      if got.status == 'found' then
        each(kumo.json_parse(got.answer), parts_at[path])
      end
    end
  end
end

local function listener_path(parts)
  local listener = parts[1] ~= '*' and parts[1] or nil
  return names.path('/listener-domain/', parts[2], 'listener', listener)
end

-- Groups that are not this node's are other nodes' business.
local function egress_path(segment)
  return function(parts)
    local group = policyd.CONFIGURED.node_group
    if parts[1] == '*' or parts[1] == group then
      return names.path(segment, parts[2], 'group', group)
    end
  end
end

local function queue_path(parts)
  return names.path(
    '/queue/',
    parts[1],
    'tenant',
    parts[2],
    'campaign',
    parts[3]
  )
end

function mod.listener_domains()
  local data = {}
  mod.documents('listener_domain', listener_path, function(answer, parts)
    data[parts[1]] = data[parts[1]] or {}
    data[parts[1]][parts[2]] = answer
  end)
  return data
end

function mod.sources()
  local data = { sources = {}, pools = {} }
  mod.documents(
    'egress_source',
    egress_path '/egress-source/',
    function(answer)
      data.sources[answer.name] = answer
    end
  )
  mod.documents('egress_pool', egress_path '/egress-pool/', function(answer)
    data.pools[answer.name] = answer
  end)
  return data
end

function mod.queues()
  local data = { tenants = {}, queues = {} }
  mod.documents('tenant', function(parts)
    return names.path('/tenant/', parts[1])
  end, function(answer, parts)
    data.tenants[parts[1]] = answer
  end)
  mod.documents('queue', queue_path, function(answer, parts)
    local at = data.queues[parts[1]] or { tenants = {} }
    if not parts[2] then
      for name, value in pairs(answer.options) do
        at[name] = value
      end
      at.routing_domain = answer.routing_domain
    end
    data.queues[parts[1]] = at
  end)
  return data
end

-- Runs a check that asks the service, if that is there; says whether it is.
function mod.checking(what, check)
  if is_reachable == nil then
    mod.service()
  end
  if is_reachable then
    local ok, problem = pcall(check)
    if not ok then
      mod.fail(what .. ': ' .. construct.reason(problem))
    end
  end
  return is_reachable
end

local function check_each(kind, path_of)
  mod.documents(kind, path_of, function(answer, parts)
    local ok, problem = construct.make(kind, answer)
    if not ok then
      mod.fail(
        string.format('%s %s: %s', kind, table.concat(parts, ' '), problem)
      )
    end
  end)
end

function mod.refuse_both(module)
  local stock = package.loaded['policy-extras.' .. module]
  local ours = require('policyd.' .. module)
  if stock and stock ~= ours and stock.CONFIGURED then
    mod.fail(
      string.format(
        'policyd.%s and policy-extras.%s are both set up; use one of them',
        module,
        module
      )
    )
  end
end

-- `consequence` is what it means to have none.
function mod.check_store_key(consequence)
  if not policyd.CONFIGURED.store_key then
    print('policyd: (not counted) without a store_key, ' .. consequence)
  elseif not require('policyd.seal').is_possible() then
    mod.fail 'the store_key cannot be read, or has not 64 bytes'
  end
end

function mod.check_listener_domains()
  mod.refuse_both 'listener_domains'
  mod.checking('listener domains', function()
    check_each('listener_domain', listener_path)
  end)
end

function mod.check_sources()
  mod.refuse_both 'sources'
  mod.checking('sources', function()
    check_each('egress_source', egress_path '/egress-source/')
    check_each('egress_pool', egress_path '/egress-pool/')
  end)
end

local function check_order()
  local registrars = kumo.get_event_registrars 'get_queue_config' or {}
  local last = registrars[#registrars]
  for _, frame in ipairs(last or {}) do
    if tostring(frame):find('policyd/queue.lua', 1, true) then
      return
    end
  end
  mod.fail(
    'policyd.queue answers for every queue, so it has to be set up last; '
      .. 'something registers get_queue_config after it'
  )
end

function mod.check_queues()
  mod.refuse_both 'queue'
  if
    not require('policyd.queue').CONFIGURED.options.skip_queue_config_hook
  then
    check_order()
  end
  mod.checking('queues', function()
    check_each('queue', queue_path)
  end)
end

return mod
