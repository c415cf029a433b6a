--[[
The only user of kumo.http.

    local got, problem = client.answer('/tenant/acme', '105-3f9a12bc')

`got` is an answer with its label; `problem` says of every endpoint in one line
what was wrong with it; a third result says that policyd was there at all of
them and could not answer this: no reason not to ask for something else.
Endpoints are asked in order, those that just failed last, two seconds for all
of them together. What comes without Policy-Position comes from something else
than policyd: never an answer.
]]
local kumo = require 'kumo'
local envelope = require 'policyd.envelope'
local handles = require 'policyd.handles'
local json_text = require 'policyd.json_text'
local known = require 'policyd.known'

local mod = {}
local DEADLINE = 2.0
local DOWN_FOR = 5

-- Made when first needed and kept: it has its connections, and making one
-- reads the host's certificates.
local http, token

local function configured()
  return require('policyd').CONFIGURED
end

local function bearer()
  if token == nil then
    local source = configured().token
    token = source and kumo.secrets.load(source):gsub('%s+$', '') or false
  end
  return token
end

-- Endpoints, those that failed within the last seconds after the others.
local function in_order(now)
  local up, down = {}, {}
  for i, endpoint in ipairs(configured().endpoints) do
    local since = now - handles['failed.' .. i]:sum()
    local is_down = since >= 0 and since < DOWN_FOR
    table.insert(is_down and down or up, { i, endpoint })
  end
  table.move(down, 1, #down, #up + 1, up)
  return up
end

local function send(url, asked, seconds)
  http = http
    or kumo.http.build_client {
      timeout = '2s',
      pool_idle_timeout = '60s',
      user_agent = 'policyd-lua/' .. handles.FORMAT,
    }
  local request = http[asked.method or 'get'](http, url):timeout(seconds)
  local secret = bearer()
  if secret then
    request = request:bearer_auth(secret)
  end
  request = request:header('Policy-Node', require('policyd.node_name').name())
  if asked.position then
    request = request:header('Policy-Position', asked.position)
  end
  if asked.digest then
    request = request:header('If-None-Match', '"' .. asked.digest .. '"')
  end
  if asked.body then
    request =
      request:header('Content-Type', 'application/json'):body(asked.body)
  end
  local response = request:send()
  local headers = response:headers()
  return {
    status = response:status_code(),
    position = headers['policy-position'],
    stale = headers['policy-stale'] == 'true',
    body = response:text(),
  }
end

-- One endpoint: its response, or nil and what is wrong with it.
local function ask(endpoint, path, asked, seconds)
  local ok, response = pcall(send, endpoint .. path, asked, seconds)
  if not ok then
    return nil, require('policyd.construct').reason(response)
  end
  local status = response.status
  if status == 401 then
    -- It may have been replaced; the next request reads it again.
    token = nil
  end
  if not asked.expects[status] then
    local says, problem = require('policyd.problems').of(response)
    local is_apart = asked.is_apart and status ~= 401
    return nil,
      says,
      problem ~= nil and (status == 400 or status == 503 or is_apart),
      problem ~= nil and (status == 400 or is_apart),
      status
  end
  local number, stamp = known.position(response.position)
  if not number then
    return nil,
      string.format(
        'status %d without Policy-Position: not from policyd',
        status
      )
  elseif asked.position and number < known.position(asked.position) then
    return nil, 'is behind what this node knows already'
  elseif handles.is_lost(known.packed(number, stamp), os.time()) then
    return nil, 'answers from a history that has just been replaced'
  end
  response.number = number
  return response
end

-- Every endpoint in order until one gives what `read` makes something of.
local function first(path, asked, read)
  local now = os.time()
  local endpoints = in_order(now)
  local seconds = asked.seconds or DEADLINE / #endpoints
  local problems, is_there, second_best = {}, true, nil
  for _, each in ipairs(endpoints) do
    local i, endpoint = table.unpack(each)
    local response, problem, is_said, is_refusal, status =
      ask(endpoint, path, asked, seconds)
    local got
    if response then
      got, problem = read(response)
    end
    if got and not response.stale then
      return got
    elseif got then
      second_best = second_best or got
    else
      is_there = is_there and is_said
      if not is_refusal then
        handles['failed.' .. i]:observe(now)
      end
      table.insert(problems, endpoint .. ' ' .. problem)
      if status and status == asked.is_limited_by then
        break
      end
    end
  end
  return second_best, table.concat(problems, '; '), is_there
end

-- An answer may be read ahead of what the feed has heard of. Should that
-- history end there, nobody else would ever know (feed.lua asks).
local function note_ahead(response)
  local number, stamp = known.position(response.position)
  local packed = known.packed(number, stamp)
  if packed and packed > handles.ahead:sum() then
    handles.ahead:observe(packed)
  end
end

local FOUND = { [200] = true, [404] = true }
local OK = { [200] = true }
local DONE = { [204] = true }
local FILE = { [200] = true, [304] = true }
local NO_JSON = 'answers something that is no answer'

function mod.answer(path, position, is_apart)
  local asked = { position = position, expects = FOUND, is_apart = is_apart }
  return first(path, asked, function(response)
    local got = envelope.read(response.body)
    if not got or (got.status == 'found') ~= (response.status == 200) then
      return nil, NO_JSON
    end
    note_ahead(response)
    return envelope.labelled(got, response)
  end)
end

-- Whether a password is right: `authenticated`, and of whom. One replica's limit
-- on guessing is not to be got round by asking the next one.
function mod.log_in(attempt, position)
  local asked = {
    method = 'post',
    body = kumo.json_encode(attempt),
    position = position,
    expects = OK,
    is_apart = true,
    is_limited_by = 429,
  }
  return first('/smtp-auth', asked, function(response)
    local said = envelope.parsed(response.body)
    if
      not said
      or type(said.authenticated) ~= 'boolean'
      or type(said.tags) ~= 'table'
      or said.authenticated
        and not (type(said.username) == 'string' and type(said.tenant) == 'string')
    then
      return nil, NO_JSON
    end
    said.label = response.number
    return said
  end)
end

-- Every endpoint by itself, for who wants to know how it is.
function mod.each(path)
  local all = {}
  for i, endpoint in ipairs(configured().endpoints) do
    local response, problem =
      ask(endpoint, path, { expects = FOUND }, DEADLINE)
    all[i] = { got = response, problem = endpoint .. ' ' .. (problem or '') }
  end
  return all
end

-- Answers by path; what could not be answered is missing.
function mod.batch(paths, position, seconds)
  local asked = {
    method = 'post',
    body = kumo.json_encode(paths),
    position = position,
    seconds = seconds,
    expects = OK,
  }
  return first('/batch', asked, function(response)
    local elements = json_text.elements(response.body)
    if not elements or #elements ~= #paths then
      return nil, NO_JSON
    end
    note_ahead(response)
    local answers = {}
    for i, text in ipairs(elements) do
      local got = envelope.read(text)
      if got then
        answers[paths[i]] = envelope.labelled(got, response)
      else
        require('policyd.problems').note_drill(text)
      end
    end
    return answers
  end)
end

-- A file: its text, or that it is the one with this digest.
function mod.file(path, position, digest)
  local asked = {
    position = position,
    digest = digest,
    seconds = 10.0,
    expects = FILE,
  }
  return first(path, asked, function(response)
    return {
      text = response.status == 200 and response.body or nil,
      stale = response.stale,
    }
  end)
end

local function read_json(response)
  local value = envelope.parsed(response.body)
  if not value or not known.position(value.position) then
    return nil, NO_JSON
  end
  return value
end

function mod.changes(position, wait)
  local path = string.format('/changes?wait=%d', wait)
  if position then
    path = path .. '&position=' .. position
  end
  return first(
    path,
    { seconds = wait + 3.0, expects = OK },
    function(response)
      local news, problem = read_json(response)
      if news and not (news.tags and news.floors) then
        return nil, NO_JSON
      end
      return news, problem
    end
  )
end

function mod.names(kind, after, position)
  local path = '/names/' .. kind
  if after then
    path = path .. '?after=' .. require('policyd.names').quoted(after)
  end
  local asked = { position = position, seconds = 10.0, expects = OK }
  return first(path, asked, function(response)
    local page, problem = read_json(response)
    if page then
      note_ahead(response)
    end
    return page, problem
  end)
end

function mod.report(node, body)
  local asked = {
    method = 'put',
    body = kumo.json_encode(body),
    seconds = DEADLINE,
    expects = DONE,
  }
  return first('/nodes/' .. node, asked, function()
    return true
  end)
end

return mod
