--[[
One way to an answer, for every handler.

    local found = lookup.ask(kinds.egress_pool('bulk'))
    found.status    -- 'found', 'none', or 'unknown': exists perhaps, and nobody can say what it is
    found.answer    -- if found: a table of the caller's own
    found.stale     -- not known to hold any more
    found.revision  -- up to which it is known to have held
    found.settled   -- asking again brings nothing: kumod refuses what is there

Never raises. The way is: L1, kumo.memoize; on a miss the name index, which
says what exists, and the answer for just that; L2, the node store; L3, the
service; L2 again, whatever its state, up to max_stale. Whatever L1 gives is
held against the known changes; what something newer is known of is asked for
under another key. So a change needs nothing to be emptied.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'
local known = require 'policyd.known'

local mod = {}
mod.WINDOW = 5000
local ROUNDS = 3
local KEPT_FOR = 10

local changes_at, my_generation, my_changes
local l1 = {}
-- What the populate functions are asked about: a memoized function is keyed by
-- its arguments, and a context does one thing at a time.
local asking

-- The changes known process-wide, as of a generation. The feed declares it
-- with what it has in memory; the store answers for a purged cache.
function mod.changes_cache(populate)
  return kumo.memoize(populate, {
    name = 'user.' .. handles.name 'known',
    ttl = '1 hour',
    capacity = 4,
    populate_timeout = '10s',
  })
end

local function stored_changes()
  return require('policyd.store').window(mod.WINDOW) or { lost = true }
end

-- nil while nothing was ever known; `lost` if it was and is not at hand.
function mod.known_changes()
  local generation = handles.generation:sum()
  if generation ~= my_generation or (my_changes and my_changes.lost) then
    changes_at = changes_at or mod.changes_cache(stored_changes)
    local shared = changes_at(generation)
    my_changes = {
      lost = generation > 0 and not shared.number,
      number = shared.number,
      begins = shared.begins,
      position = shared.position,
      tags = shared.tags,
      floors = shared.floors,
      has_floors = shared.has_floors,
    }
    my_generation = generation
  end
  return my_changes and my_changes.number and my_changes or nil
end

function mod.failed(problem)
  require('policyd.report').trouble(
    'lookup',
    'a lookup failed: ' .. require('policyd.construct').reason(problem)
  )
end

-- An envelope from a cache, held against what is known; whether it is only good
-- as stale; and else the revision up to which it was found to hold.
local function ask(cache, question, now, era)
  mod.known_changes()
  local floor, attempt = 0, 0
  -- While nobody knows what changed, what comes may be older than what was
  -- known, or of another history.
  local is_lost = my_changes and my_changes.lost or false
  if is_lost then
    attempt = handles.try(now)
  end
  local env
  for _ = 1, ROUNDS do
    asking = question
    env = cache(question.path, era, floor, attempt)
    -- A fetch may take seconds; what changed meanwhile counts.
    local changes = mod.known_changes()
    if env.try or known.expired(env, now) then
      local try = handles.try(now)
      if attempt > 0 or try == env.try then
        return env, true
      end
      attempt = try
    else
      local revision = changes and known.outdated(env, changes)
      if not revision then
        return env, is_lost, changes and changes.number
      elseif revision <= floor then
        return env, true
      end
      floor = revision
    end
  end
  return env, true
end

local function unknown(problem)
  mod.failed(problem)
  return {
    status = 'unknown',
    tags = {},
    label = 0,
    try = handles.try(os.time()),
  }
end

local function memoized(what, populate)
  local function unraised(...)
    local ok, env = pcall(populate, ...)
    return ok and env or unknown(env)
  end
  return kumo.memoize(unraised, {
    name = 'user.' .. handles.name(what),
    ttl = '5 minutes',
    capacity = require('policyd').CONFIGURED.cache_capacity,
    populate_timeout = '10s',
  })
end

local function caches(kind)
  local both = l1[kind]
  if not both then
    -- What fetches is loaded when something is to be fetched: most contexts are
    -- made for a queue that L1 has the answer for.
    both = {
      -- By what is asked, which strangers choose; and by what exists.
      asked = memoized(kind, function(path, era, floor)
        local fetching = require 'policyd.fetching'
        return fetching.reduced(mod, asking, path, era, floor)
      end),
      rows = memoized(kind .. '.rows', function(path, era, floor)
        local fetching = require 'policyd.fetching'
        return fetching.row(asking, my_changes, path, era, floor)
      end),
    }
    l1[kind] = both
  end
  return both
end

-- What exists, as ask has it; third, the revision that it was found to hold at,
-- which its own label may be older than.
function mod.row(question, now, era)
  return ask(caches(question.kind).rows, question, now, era)
end

-- What is asked by its path alone, its answer left as text: a key.
function mod.raw(question)
  local now = os.time()
  local ok, env = pcall(mod.row, question, now, handles.era:sum())
  return ok and env or unknown(env)
end

local function answered(question)
  local now, era = os.time(), handles.era:sum()
  local env, stale = ask(caches(question.kind).asked, question, now, era)
  local found = {
    status = env.status,
    stale = stale or nil,
    settled = stale and env.settled or nil,
    revision = env.label,
  }
  if found.status == 'found' then
    found.answer = kumo.json_parse(env.answer)
  end
  return found
end

function mod.ask(question)
  local ok, found = pcall(answered, question)
  if ok then
    return found
  end
  mod.failed(found)
  return { status = 'unknown', stale = true }
end

local kept = {}

-- The same for one document that every message needs: kept by this context
-- while nothing changes anywhere. It is shared; leave it as it is.
function mod.keep(question)
  local now = os.time()
  local mine = kept[question.path]
  if
    mine
    and mine.generation == handles.generation:sum()
    and mine.era == handles.era:sum()
    and now - mine.at >= 0
    and now - mine.at < KEPT_FOR
  then
    return mine.found
  end
  local generation, era = handles.generation:sum(), handles.era:sum()
  local found = mod.ask(question)
  if found.status ~= 'unknown' and not found.stale then
    kept[question.path] =
      { found = found, generation = generation, era = era, at = now }
  end
  return found
end

-- Says that something kumod has built, and only looks at again when the config
-- epoch is bumped, was built from what is not known to hold.
function mod.owe_bump(found)
  if (found.status == 'unknown' or found.stale) and not found.settled then
    handles.owed:increment(1)
  end
end

return mod
