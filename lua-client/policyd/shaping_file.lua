--[[
The file that the rows of shaping are on this node, beside its store.

    shaping_file.prepare()   -- pre_init: is there one that can be used?
    shaping_file.beneath()   -- the files that are read before it

shaping_feed.lua keeps it up to date. It holds no secret.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local policyd = require 'policyd'
local shaping = require 'policyd.shaping'

local mod = {}

function mod.path()
  return policyd.CONFIGURED.store .. '.shaping.json'
end

-- The files that come before it.
function mod.beneath()
  if shaping.CONFIGURED.options.no_default_files then
    return {}
  end
  return { shaping.PACKAGED }
end

function mod.content()
  local file = io.open(mod.path(), 'rb')
  local text = file and file:read 'a'
  if file then
    file:close()
  end
  return text
end

function mod.is_there()
  local file = io.open(mod.path())
  if file then
    file:close()
  end
  return file ~= nil
end

-- Until the feed has looked at it, mail waits.
function mod.is_of_no_use(problem)
  handles.shaped:observe(0)
  require('policyd.report').trouble(
    'shaping',
    'shaping cannot be used: ' .. require('policyd.construct').reason(problem)
  )
end

-- Before any handler runs. Only what a crash may have left half is noticed
-- here: to load it takes the MX of every domain.
function mod.prepare()
  if _VALIDATING_CONFIG then
    return
  end
  local text = mod.content()
  local ok = text and pcall(kumo.json_parse, text)
  if ok then
    handles.shaped:observe(1)
  elseif text then
    mod.is_of_no_use(mod.path() .. ' is not whole')
  end
end

-- What kumod makes of it when it is read after the packaged file.
function mod.loaded(path, options)
  local names = mod.beneath()
  table.insert(names, path)
  return kumo.shaping.load(names, options or { local_load = 'Error' })
end

return mod
