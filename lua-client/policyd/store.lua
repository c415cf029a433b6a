--[[
The node store, as handlers read it: answers that outlive restarts and outages,
the name index, and what the feed has learned.

    local held = store.read('/tenant/acme', os.time())
    held.valid   -- by the rule, as of held.label
    held.since   -- when it stopped being known good; for a valid one: the last contact

    local index = store.names({ 'tenant/acme', … }, { 'tenant' })
    index.present['tenant/acme'], index.number

Handlers only read. Every function gives nil when there is no store; whatever
damage shows switches it off for this process until a restart, when it is
looked at and moved aside if need be (store_keeper.lua).
]]
local kumo = require 'kumo'
local sqlite = require 'sqlite'
local handles = require 'policyd.handles'

local mod = {}
local BUSY, SCHEMA_CHANGED = 5, 17
local FULL = 13

local db

function mod.path()
  return require('policyd').CONFIGURED.store
end

-- Without pre_init (`kumod --script`) nobody has looked at the store: it is
-- read if it is there, and of this format.
local function unprepared(path)
  local file = io.open(path)
  if not file then
    return nil
  end
  file:close()
  local opened = sqlite.open(path, 500)
  local ok, version = pcall(opened.execute, opened, 'pragma user_version')
  if ok and version[1] == handles.FORMAT then
    return opened
  end
  opened:close()
end

local function connection()
  local state = handles.store:sum()
  if state == handles.STORE_OFF then
    return nil
  end
  if db == nil then
    if state == handles.STORE_OPEN then
      db = sqlite.open(mod.path(), 500)
    else
      db = unprepared(mod.path()) or false
    end
  end
  return db or nil
end

-- Busy and full pass; anything else does not.
function mod.is_passing(problem)
  local code = tonumber(tostring(problem):match '%(code (%d+)%)')
  return code == BUSY or code == FULL or code == SCHEMA_CHANGED
end

function mod.switch_off(problem)
  handles.store:observe(handles.STORE_OFF)
  db = false
  require('policyd.report').trouble(
    'store',
    string.format(
      'the store %s is not used until kumod restarts: %s',
      mod.path(),
      require('policyd.construct').reason(problem)
    )
  )
end

local function rows(sql, params)
  local ok, found = pcall(function()
    local conn = connection()
    return conn and conn:execute(sql, params)
  end)
  if ok then
    return found
  end
  if not mod.is_passing(found) then
    mod.switch_off(found)
  end
end

-- The rule in SQL: the first time that something an answer was made from is
-- known to have changed after it; null while it holds.
mod.BROKEN_AT = [[
(select min(at) from (
  select c.at as at from json_each(e.tags) t join change c on c.tag = t.value
   where c.revision > e.label
  union all
  select f.at from floor f
   where f.revision > e.label and exists (
     select 1 from json_each(e.tags) t
      where t.value = f.kind or t.value like f.kind || '/%')))]]

local READ = [[
select e.status, e.answer, e.tags, e.label, e.valid_until, e.fetched_at,
       e.era = p.era as is_of_era, p.number, p.begins, p.touched_at,
       p.reset_at, ]] .. mod.BROKEN_AT .. [[ as broken_at
  from entry e, position p where e.path = :path]]

function mod.read(path, now)
  local found = rows(READ, { path = path })
  local held = found and found[1]
  if not held or not held.label then
    return nil
  end
  held.tags = kumo.json_parse(held.tags)
  local is_of_era = held.is_of_era == 1
  if not held.number then
    -- No contact yet in this store's life: nothing is known to judge it by.
    held.since = held.fetched_at
  elseif not is_of_era then
    held.since = held.reset_at or held.fetched_at
  elseif held.broken_at then
    held.since = held.broken_at
  elseif held.label < held.begins then
    held.since = held.fetched_at
  elseif held.valid_until and now >= held.valid_until then
    held.since = held.valid_until
  else
    held.valid = true
    held.label = math.max(held.label, held.number)
    held.since = held.touched_at or held.fetched_at
  end
  return held
end

local NAMES = [[
select (select json_group_array(t.value) from json_each(:tags) t
         where case when t.value like '%/'
               then exists (select 1 from name where tag > t.value
                               and tag < substr(t.value, 1, length(t.value) - 1) || '0')
               else exists (select 1 from name where tag = t.value) end
       ) as present,
       (select count(*) from indexed
         where kind in (select value from json_each(:kinds))) as kinds,
       number
  from position]]

-- Which of these documents exist, or any of a kind (tags.any); nil while the index of one of the kinds is
-- not complete.
function mod.names(tags, kinds)
  local found = rows(NAMES, {
    tags = kumo.json_encode(tags),
    kinds = kumo.json_encode(kinds),
  })
  local row = found and found[1]
  if not row or not row.number or row.kinds < #kinds then
    return nil
  end
  local present = {}
  for _, tag in ipairs(kumo.json_parse(row.present)) do
    present[tag] = true
  end
  return { present = present, number = row.number }
end

local POSITION = [[
select number, stamp, begins, era, generation from position
 where number is not null]]
local WINDOW = [[
select tag, revision from change order by revision desc limit :most]]
local FLOORS = 'select kind, revision from floor'

-- What is known to have changed, at most that many tags.
function mod.window(most)
  local found = rows(POSITION)
  local at = found and found[1]
  if not at or not at.number then
    return nil
  end
  local known = {
    number = at.number,
    position = string.format('%d-%s', at.number, at.stamp),
    begins = at.begins,
    era = at.era,
    generation = at.generation,
    tags = {},
    floors = {},
    has_floors = false,
    size = 0,
    limit = most,
  }
  for i, change in ipairs(rows(WINDOW, { most = most + 1 }) or {}) do
    if change.tag and i > most then
      known.begins = math.max(known.begins, change.revision)
    elseif change.tag then
      known.tags[change.tag] = change.revision
      known.size = known.size + 1
    end
  end
  for _, floor in ipairs(rows(FLOORS) or {}) do
    if floor.kind then
      known.floors[floor.kind] = floor.revision
      known.has_floors = true
    end
  end
  return known
end

return mod
