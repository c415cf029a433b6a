-- The least that policyd.lookup needs of kumo, for a machine without kumod: what is measured around it is our own Lua, and nothing of
-- kumod's. JSON is not parsed: each answer is a copy of one table.
local kumo = { version = '2026.08.04', counter_series = {}, mpsc = {} }
package.loaded.kumo = kumo
package.loaded.sqlite = { open = function() error 'there is no store' end }

local series = {}
function kumo.counter_series.define(params)
  local found = series[params.name]
  if not found then
    local value = 0
    found = {}
    function found:sum() return value end
    function found:observe(new) value = new end
    function found:increment(by) value = value + by end
    series[params.name] = found
  end
  return found
end

function kumo.mpsc.define()
  return { try_send = function() return true end }
end

local caches = {}
function kumo.memoize(f, params)
  local cache = caches[params.name] or {}
  caches[params.name] = cache
  return function(...)
    local key = table.concat({ ... }, '\0')
    local value = cache[key]
    if value == nil then
      value = f(...)
      cache[key] = value
    end
    return value
  end
end

function kumo.json_parse()
  return { log_oob = 'LogThenDrop', relay_from = { '192.0.2.0/24', '198.51.100.0/24' }, relay_to = true }
end
function kumo.json_encode() return '' end
function kumo.make_listener_domain(params) return params end
function kumo.on() end
function kumo.log_error(text) error(text) end
return kumo
