-- The Lua side of the simulated kumo: what kumod's functions are to a policy. `host` holds the Python side's functions; each of them
-- returns true and results, or false and an error. A function that waits yields to the driver, as mlua's async functions do: so
-- it fails in a module's body, a sort comparator or a gsub callback, where kumod's fails too.
local host, absent = ...
local yield, is_yieldable, pack, unpack = coroutine.yield, coroutine.isyieldable, table.pack, table.unpack
local status_of, resume, create = coroutine.status, coroutine.resume, coroutine.create

local function finish(ok, ...)
  if ok then return ... end
  error((...), 0)
end
local function must_be_yieldable()
  if not is_yieldable() then error('attempt to yield across a C-call boundary', 0) end
end
local function sync(f) return function(...) return finish(f(...)) end end
local function awaiting(f)
  return function(...)
    must_be_yieldable()
    return finish(yield(finish(f(...))))
  end
end

local bridge = { sync = sync, awaiting = awaiting }

-- Modules: a name that is not there is an error that says so, not a nil that says something three lines later.
local function module(path)
  return setmetatable({}, { __index = function(_, key)
    local name = path .. '.' .. tostring(key)
    if absent[name] then return nil end
    return finish(host.missing(name))
  end })
end
local kumo, sqlite = module 'kumo', module 'sqlite'
package.loaded.kumo, package.loaded.sqlite = kumo, sqlite
function bridge.define(path, f)
  if absent[path] then return end
  local at = kumo
  local names = {}
  for name in path:gmatch '[^.]+' do names[#names + 1] = name end
  if names[1] == 'sqlite' then at = sqlite end
  local so_far = names[1]
  for i = 2, #names - 1 do
    so_far = so_far .. '.' .. names[i]
    if absent[so_far] then return end
    if not rawget(at, names[i]) then rawset(at, names[i], module(so_far)) end
    at = at[names[i]]
  end
  rawset(at, names[#names], f)
end

-- Userdata: all of Python's objects share one metatable.
function bridge.dress(object)
  local mt = debug.getmetatable(object)
  local index, items = host.index, host.items
  mt.__index = function(ud, key)
    local kind, value = finish(index(ud, key))
    if kind == 'sync' then return sync(value) end
    if kind == 'awaiting' then return awaiting(value) end
    return value
  end
  mt.__newindex = function(ud, key, value) return finish(host.assign(ud, key, value)) end
  mt.__len = function(ud) return finish(host.length(ud)) end
  mt.__tostring = function(ud) return finish(host.as_text(ud)) end
  mt.__pairs = function(ud)
    local keys, values = finish(items(ud))
    local i = 0
    return function()
      i = i + 1
      return keys[i], values[i]
    end, ud, nil
  end
end

-- Events.
local handlers, registrars = {}, {}
function kumo.on(name, f)
  if type(name) ~= 'string' or type(f) ~= 'function' then finish(host.bad_handler()) end
  local several = finish(host.may_register(name, _KUMO_CURRENT_EVENT))
  local info = debug.getinfo(2, 'Sl') or { short_src = '?', currentline = 0 }
  local caller = info.source:gsub('^[@=]', '') .. ':' .. info.currentline
  local known = handlers[name]
  if known and not several then
    local at = debug.getinfo(known[1], 'S')
    finish(host.already_registered(name, at.source:gsub('^[@=]', '') .. ':' .. at.linedefined))
  end
  if not known then handlers[name], registrars[name] = {}, {} end
  table.insert(handlers[name], f)
  table.insert(registrars[name], { caller })
end
function kumo.get_event_registrars(name) return registrars[name] end
function bridge.handler_count(name) return handlers[name] and #handlers[name] or 0 end
function bridge.handlers_named() local names = {} for name in pairs(handlers) do names[#names + 1] = name end return names end

-- Coroutines stay here, under a number: Python gets no hold of them.
local threads, last = {}, 0
local function kept(f)
  last = last + 1
  threads[last] = create(f)
  return last
end
function bridge.event(name, i)
  return kept(function(...)
    local before = _KUMO_CURRENT_EVENT
    _KUMO_CURRENT_EVENT = name
    local r = pack(pcall(handlers[name][i], ...))
    _KUMO_CURRENT_EVENT = before
    return finish(unpack(r, 1, r.n))
  end)
end
function bridge.chunk(text, name)
  local f, problem = load(text, name)
  if not f then error(problem, 0) end
  return kept(f)
end
bridge.thread = kept
function bridge.resume(number, ...)
  local co = threads[number]
  local r = pack(resume(co, ...))
  local status = status_of(co)
  if status == 'dead' then threads[number] = nil end
  return status, unpack(r, 1, r.n)
end

-- What asks a handler in the calling context does so in the calling coroutine.
function kumo.invoke_get_egress_path_config(domain, source, site)
  must_be_yieldable()
  local known = handlers.get_egress_path_config
  if not known then return {} end
  return finish(host.params('egress_path', (known[1](domain, source, site))))
end
function kumo.traceback(level)
  local frames = {}
  for i = level + 1, 200 do
    local info = debug.getinfo(i, 'Slnt')
    if not info then break end
    frames[#frames + 1] = {
      source = info.source, short_src = info.short_src, curr_line = info.currentline, line_defined = info.linedefined, what = info.what,
      last_line_defined = info.lastlinedefined, name = info.name, name_what = info.namewhat, is_tail_call = info.istailcall,
    }
  end
  return frames
end

-- memoize: the populate function runs in the caller's coroutine, so that whatever it awaits is awaited there.
function kumo.memoize(f, params)
  if type(f) ~= 'function' then finish(host.bad_handler()) end
  local name = finish(host.memo_declare(params))
  local begin, store = host.memo_begin, host.memo_store
  return function(...)
    must_be_yieldable()
    local state, value = finish(begin(name, ...))
    while state == 2 do state, value = finish(yield(value)) end
    if state == 1 then return value end
    local r = pack(pcall(f, ...))
    return finish(store(value, unpack(r, 1, r.n)))
  end
end

-- The clock of the node, and what no policy may do to the process that simulates it.
local real_time, real_date = os.time, os.date
function os.time(at)
  if at ~= nil then return real_time(at) end
  return finish(host.wall())
end
function os.date(format, at) return real_date(format, at or finish(host.wall())) end
function os.exit() finish(host.missing 'os.exit') end
function print(...)
  local out = {}
  for i = 1, select('#', ...) do out[i] = tostring((select(i, ...))) end
  finish(host.print(table.concat(out, '\t')))
end
return bridge
