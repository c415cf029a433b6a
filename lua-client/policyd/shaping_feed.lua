--[[
How the feed keeps the file of shaping up to date: at first contact, and when
the tag `shaping` changes.

    shaping_feed.read(feed, news)

What comes is loaded by kumod before it takes the file's place, in one rename;
so whatever is wrong with it, a file that was good stays.
]]
local kumo = require 'kumo'
local client = require 'policyd.client'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local shaping = require 'policyd.shaping'
local shaping_file = require 'policyd.shaping_file'

local mod = {}
local REFUSED_FOR = 60

local function trouble(text)
  require('policyd.report').trouble('shaping', text)
end

-- The names of the secrets in it, each with true.
function mod.secrets_of(value, names)
  names = names or {}
  if value.event_name == shaping.SECRET and value.event_args then
    names[value.event_args[1]] = true
  end
  for _, inner in pairs(value) do
    if type(inner) == 'table' then
      mod.secrets_of(inner, names)
    end
  end
  return names
end

-- Without the name of a file that is not there any more.
local function said_of(path, problem)
  local from, to = problem:find(path, 1, true)
  return from and problem:sub(1, from - 1) .. 'them' .. problem:sub(to + 1)
end

local function problem_with(path)
  local ok, loaded = pcall(shaping_file.loaded, path)
  if not ok then
    local problem = construct.reason(loaded)
    return said_of(path, problem) or problem
  end
  for _, text in ipairs(loaded:get_errors()) do
    local problem = said_of(path, text)
    if problem then
      return construct.reason(problem)
    end
  end
end

local function written(path, text)
  local file, problem = io.open(path, 'wb')
  local ok = file
  if file then
    ok, problem = file:write(text)
    local closed, late = file:close()
    ok, problem = ok and closed, problem or late
  end
  if not ok then
    os.remove(path)
    error(problem, 0)
  end
end

-- Nobody else's name: two processes may live for a moment.
function mod.aside()
  return string.format(
    '%s.%08x.json',
    shaping_file.path(),
    math.random(0, 0xffffffff)
  )
end

local function name_missing_secrets(text)
  local missing = {}
  for name in pairs(mod.secrets_of(kumo.json_parse(text))) do
    if not require('policyd.secrets').has(name) then
      table.insert(missing, name)
    end
  end
  if #missing > 0 then
    table.sort(missing)
    require('policyd.report').trouble(
      'shaping.secrets',
      'shaping names secrets that are not in the secrets of policyd:setup on this node: '
        .. table.concat(missing, ', ')
    )
  end
end

-- Puts it in place, or says why kumod would not take it.
local function replace(text)
  local new = mod.aside()
  written(new, text)
  local refused = problem_with(new)
  local ok, problem = not refused, nil
  if ok then
    ok, problem = os.rename(new, shaping_file.path())
  end
  if not ok then
    os.remove(new)
  end
  if problem then
    error(problem, 0)
  end
  return refused
end

local function digest(text)
  return kumo.digest.sha256(text).hex
end

local function take(feed, state, text, mine)
  local refused = replace(text)
  if refused then
    state.retry_at = os.time() + REFUSED_FOR
    return trouble(
      'kumod refuses the rows of shaping, and what was there before stays: '
        .. refused
    )
  end
  name_missing_secrets(text)
  state.is_pending, state.retry_at = false, nil
  handles.shaped:observe(1)
  if text ~= mine then
    handles.shaping:increment(1)
    feed.plan:want()
  end
end

-- Brings the file up to date. Raises where that has to be tried again.
local function renew(feed, state)
  local mine = shaping_file.content()
  local is_good = handles.shaped:sum() == 1 and mine ~= nil
  local got, problem = client.file(
    '/shaping.json',
    feed.known.position,
    is_good and digest(mine) or nil
  )
  if not got then
    error(problem, 0)
  elseif got.stale and is_good then
    error('the service cannot tell whether it knows the latest', 0)
  elseif got.text then
    take(feed, state, got.text, mine)
  else
    state.is_pending = false
  end
  state.is_pending = state.is_pending or got.stale == true
end

local function is_news(news)
  return news.reset or news.tags.shaping or news.floors.shaping
end

function mod.read(feed, news)
  if not shaping.CONFIGURED then
    return
  end
  local state = feed.shaping or { is_pending = true }
  feed.shaping = state
  if not shaping_file.is_there() and handles.shaped:sum() == 1 then
    shaping_file.is_of_no_use(shaping_file.path() .. ' is gone')
  end
  if is_news(news) then
    state.is_pending, state.retry_at = true, nil
  end
  local is_wanted = state.is_pending or handles.shaped:sum() ~= 1
  if not is_wanted or (state.retry_at and os.time() < state.retry_at) then
    return
  end
  local ok, problem = pcall(renew, feed, state)
  if not ok then
    trouble('shaping is not up to date: ' .. construct.reason(problem))
  end
end

return mod
