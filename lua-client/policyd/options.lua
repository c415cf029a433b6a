--[[
What policyd:setup may be given, checked. Loaded once in a process for a set of
options, not in every context.

    options.problem_with { endpoints = … }  -- a sentence, or nil
]]
local kumo = require 'kumo'

local mod = {}
local OLDEST = '2026.05.12'
local NAME = '^[%w._-]+$'

local function is_key_source(value)
  return (type(value) == 'string' and value ~= '') or type(value) == 'table'
end

local function is_name(value)
  return type(value) == 'string' and #value <= 64 and value:find(NAME) ~= nil
end

local function is_positive(value)
  return type(value) == 'number' and value > 0 and value < 1e9
end

local function are_endpoints(value)
  if type(value) ~= 'table' or #value == 0 then
    return false
  end
  for _, endpoint in ipairs(value) do
    if
      type(endpoint) ~= 'string'
      or not endpoint:find '^https?://[^/@%s]+[^@%s]*$'
    then
      return false
    end
  end
  return true
end

local function are_secrets(value)
  if type(value) ~= 'table' then
    return false
  end
  for name, source in pairs(value) do
    if type(name) ~= 'string' or not is_key_source(source) then
      return false
    end
  end
  return true
end

local function is_one_of(...)
  local allowed = {}
  for _, value in ipairs { ... } do
    allowed[value] = true
  end
  return function(value)
    return allowed[value] == true
  end
end

local KEY_SOURCE = 'a KeySource: a file name, or a table'
local OPTIONS = {
  endpoints = {
    are_endpoints,
    'a list of URLs like http://127.0.0.1:8085, without user or password',
    is_required = true,
  },
  token = { is_key_source, KEY_SOURCE },
  store = {
    function(value)
      return type(value) == 'string' and value:sub(1, 1) == '/'
    end,
    'an absolute file name',
    is_required = true,
  },
  secrets = { are_secrets, 'a table from names to KeySources' },
  node = { is_name, '1 to 64 letters, digits, dots, underscores, hyphens' },
  node_group = {
    is_name,
    '1 to 64 letters, digits, dots, underscores, hyphens',
  },
  store_key = { is_key_source, KEY_SOURCE .. ' of 64 bytes' },
  on_unknown = {
    is_one_of('tempfail', 'unsigned'),
    "'tempfail' or 'unsigned'",
  },
  epoch_interval = { is_positive, 'a number of seconds' },
  max_stale = { is_positive, 'a number of seconds' },
  auth_max_stale = { is_positive, 'a number of seconds' },
  cache_capacity = {
    function(value)
      return is_positive(value) and math.type(value) == 'integer'
    end,
    'a whole number',
  },
}

local function known_options()
  local names = {}
  for name in pairs(OPTIONS) do
    table.insert(names, name)
  end
  table.sort(names)
  return table.concat(names, ', ')
end

-- Never with the value: it may be a secret put in the wrong place.
function mod.problem_with(options)
  if type(options) ~= 'table' then
    return 'it takes one table: policyd:setup { endpoints = … }'
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      return string.format(
        "there is no option '%s'; there are %s",
        tostring(name),
        known_options()
      )
    end
  end
  for name, option in pairs(OPTIONS) do
    local value = options[name]
    if value == nil and option.is_required then
      return string.format("the option '%s' is missing: %s", name, option[2])
    elseif value ~= nil and not option[1](value) then
      return string.format("the option '%s' has to be %s", name, option[2])
    end
  end
end

-- What is wrong with this kumod; nil if it is new enough.
function mod.problem_with_version(version)
  local date = version:match '^%d%d%d%d%.%d%d%.%d%d'
  if date and date < OLDEST or not (kumo.mpsc and kumo.counter_series) then
    return string.format(
      'KumoMTA %s or newer is needed, this is %s',
      OLDEST,
      version
    )
  end
end

return mod
