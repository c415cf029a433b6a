--[[
What `kumod --validate` checks of policyd.shaping: see validation.lua. Without
the service, the file that is there from before.
]]
local client = require 'policyd.client'
local construct = require 'policyd.construct'
local kumo = require 'kumo'
local secrets = require 'policyd.secrets'
local shaping = require 'policyd.shaping'
local shaping_feed = require 'policyd.shaping_feed'
local shaping_file = require 'policyd.shaping_file'
local validation = require 'policyd.validation'

local mod = {}
-- Those of KumoMTA's own helper.
local OPTIONS = {
  aliased_site = 'Warn',
  dns_fail = 'Warn',
  local_load = 'Error',
  null_mx = 'Warn',
  provider_overlap = 'Warn',
  remote_load = 'Ignore',
  skip_remote = true,
}
-- What KumoMTA's own shaping file has for an example.
local EXAMPLE = 'my source name'

local function fetched()
  local got, problem = client.file '/shaping.json'
  if not got then
    error(problem, 0)
  end
  return got.text
end

-- Calls `use(path)` with the text in a file of its own; not beside the store,
-- which may not be there yet, if there is another place.
local function with_file(text, use)
  local ok, name = pcall(os.tmpname)
  local path = ok and name .. '.json' or shaping_feed.aside()
  local file = assert(io.open(path, 'wb'))
  file:write(text)
  file:close()
  local is_fine, problem = pcall(use, path)
  os.remove(path)
  if ok then
    os.remove(name)
  end
  if not is_fine then
    error(problem, 0)
  end
end

local function known_sources()
  for _, name in ipairs { 'policyd.sources', 'policy-extras.sources' } do
    local module = package.loaded[name]
    if module and module.CONFIGURED then
      return module.CONFIGURED.get_data().sources
    end
  end
end

local function check_sources(loaded)
  local known = known_sources()
  for source, used_by in
    pairs(known and loaded:get_referenced_sources() or {})
  do
    if not known[source] and source ~= EXAMPLE then
      validation.fail(
        string.format(
          "shaping of %s names the source '%s', which is none",
          table.concat(used_by, ', '),
          source
        )
      )
    end
  end
end

local function check_file(path)
  local options = shaping.CONFIGURED.options.validation_options or OPTIONS
  local loaded = shaping_file.loaded(path, options)
  for _, text in ipairs(loaded:get_errors()) do
    validation.fail('shaping: ' .. text)
  end
  for _, text in ipairs(loaded:get_warnings()) do
    print('policyd: (not counted) shaping: ' .. text)
  end
  return loaded
end

local function check_secrets(text)
  for name in pairs(shaping_feed.secrets_of(kumo.json_parse(text))) do
    local ok, problem = pcall(secrets.text, name)
    if not ok then
      validation.fail('shaping: ' .. problem)
    end
  end
end

local function refuse_both()
  local stock = package.loaded['policy-extras.shaping']
  local theirs = stock and stock.CONFIGURED
  if theirs and theirs ~= shaping.CONFIGURED.stock then
    validation.fail 'policyd.shaping and policy-extras.shaping are both set up; use one of them'
  end
end

local function check_what_is_there()
  local ok, problem = pcall(check_file, shaping_file.path())
  if not ok then
    validation.fail('shaping: ' .. construct.reason(problem))
  end
end

function mod.check()
  refuse_both()
  local is_reachable = validation.checking('shaping', function()
    local text = fetched()
    with_file(text, function(path)
      check_sources(check_file(path))
    end)
    check_secrets(text)
  end)
  if not is_reachable and shaping_file.is_there() then
    check_what_is_there()
  end
end

return mod
