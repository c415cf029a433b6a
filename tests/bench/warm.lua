-- What a warm lookup costs in Lua: `kumod --script`, or tests/bench/bare_kumo.lua around it. Prints a line of JSON for each number of keys.
--
-- L1 is filled by policyd.lookup itself; only the node store and the service are stood in for, because a million requests would
-- take minutes and none of them is measured.
local kumo = require 'kumo'
local seconds, memory = ...
local lookup, kinds, handles = require 'policyd.lookup', require 'policyd.kinds', require 'policyd.handles'
local store = require 'policyd.store'
local NUMBER, STAMP = 1000, '0123abcd'
local ANSWER = '{"log_oob":"LogThenDrop","relay_from":["192.0.2.0/24","198.51.100.0/24"],"relay_to":true}'
local STRIDE = 7919

local function domain(i)
  return string.format('d%08d.example.com', i)
end

function store.read(path)
  return {
    status = 'found', answer = ANSWER, tags = { 'listener_domain/*/' .. path:match '[^/]*$' },
    label = NUMBER, valid = true, since = os.time(),
  }
end

function store.names(tags)
  for _, tag in ipairs(tags) do
    if tag:find '^listener_domain/%*/d' then
      return { present = { [tag] = true }, number = NUMBER }
    end
  end
end

-- As many changes as handlers are ever told of; none of them concerns what is asked.
local function publish()
  local tags = {}
  for i = 1, lookup.WINDOW do
    tags['tenant/t' .. i] = NUMBER + i
  end
  lookup.changes_cache(function()
    return {
      position = string.format('%d-%s', NUMBER + lookup.WINDOW, STAMP), number = NUMBER + lookup.WINDOW, begins = 0,
      tags = tags, floors = {}, has_floors = false,
    }
  end)(1)
  handles.generation:observe(1)
end

local function ask(i)
  handles.touch:observe(os.time())
  local found = lookup.ask(kinds.listener_domain(domain(i), '10.1.2.3:25'))
  if found.status ~= 'found' or found.stale then
    error(string.format('%s is %s', domain(i), found.status))
  end
  return found
end

local ROUNDS, COUNT = 5, 40000

local function best_of(work)
  local best = math.huge
  for round = 1, ROUNDS do
    local began = seconds()
    for k = 1, COUNT do
      work(round * COUNT + k)
    end
    best = math.min(best, (seconds() - began) / COUNT)
  end
  return best * 1e6
end

-- The least that live policy could cost: a cached text, parsed, and made into kumod's object.
local cached = kumo.memoize(function()
  return ANSWER
end, { name = 'user.bench', ttl = '1 hour', capacity = 10 })
local function bare()
  kumo.make_listener_domain(kumo.json_parse(cached 'key'))
end

local function measure(first, keys)
  local before, began = memory(), seconds()
  for i = first, keys - 1 do
    ask(i)
  end
  local filled, after = seconds() - began, memory()
  local us = best_of(function(k)
    kumo.make_listener_domain(ask(k * STRIDE % keys).answer)
  end)
  print(string.format(
    '{"keys":%d,"us":%.3f,"bare_us":%.3f,"fill_us":%.2f,"bytes":%.1f}',
    keys, us, best_of(bare), filled / math.max(keys - first, 1) * 1e6, (after - before) / math.max(keys - first, 1)
  ))
end

return function(sizes)
  publish()
  local first = 0
  for _, keys in ipairs(sizes) do
    measure(first, keys)
    first = keys
  end
end
