--[[
What is written into the node store; by the background tasks only, handlers
never write to disk.

    local db = journal.open()
    journal.put(db, '[{"path": "/tenant/acme", "label": 105, …}, {"path": …, "at": …}]')
    journal.apply(db, news, generation, os.time())

Each function is one transaction; an error leaves the store as it was.
]]
local kumo = require 'kumo'
local sqlite = require 'sqlite'
local store = require 'policyd.store'
local tags_of = require 'policyd.tags'

local mod = {}
local MOST_TAGS, KEPT_TAGS = 100000, 90000

-- A connection for a task to write with.
function mod.open()
  local db = sqlite.open(store.path(), 5000)
  db:execute 'pragma synchronous = normal'
  return db
end

local function in_transaction(db, write)
  db:execute 'begin immediate'
  local ok, result = pcall(write)
  if ok then
    ok, result = pcall(function()
      db:execute 'commit'
      return result
    end)
  end
  if not ok then
    pcall(db.execute, db, 'rollback')
    error(result, 0)
  end
  return result
end

local PUT = [[
insert into entry (path, kind, status, answer, tags, label, era, valid_until,
                   fetched_at, used_at)
select value->>'path', value->>'kind', value->>'status', value->>'answer',
       value->>'tags', value->>'label', value->>'era', value->>'valid_until',
       value->>'at', value->>'at'
  from json_each(:batch) where value->>'label' is not null
    on conflict (path) do update set
       status = excluded.status, answer = excluded.answer,
       tags = excluded.tags, label = excluded.label, era = excluded.era,
       valid_until = excluded.valid_until, fetched_at = excluded.fetched_at,
       used_at = max(used_at, excluded.used_at)
 where excluded.era > era
    or (excluded.era = era and excluded.label >= label)]]
local USED = [[
update entry set used_at = u.at
  from (select value->>'path' as path, max(value->>'at') as at
          from json_each(:batch) where value->>'label' is null group by 1) u
 where entry.path = u.path and u.at > used_at]]

local OUTDATED = [[
with e as (select value->>'kind' as kind, value->>'tags' as tags,
                  value->>'label' as label from json_each(:batch))
select count(*) from e
 where label is not null and kind in (select value from json_each(:built))
   and ]] .. store.BROKEN_AT .. ' is not null'

-- What the feed has not brought, and will find here already when it does.
local OVERTAKEN = [[
select count(*) from json_each(:batch) n join entry e
    on e.path = n.value->>'path'
 where e.kind in (select value from json_each(:built))
   and n.value->>'era' = e.era and n.value->>'label' > e.label
   and (n.value->>'status' <> e.status or n.value->>'answer' is not e.answer)]]

local function json_keys(map)
  local keys = {}
  for key in pairs(map) do
    table.insert(keys, key)
  end
  return kumo.json_encode(keys)
end

-- Keeps answers, each only over an older one, and notes which were used. Gives
-- back how many, of those that things are built from, had changed already, or
-- are not what was kept: of both there may be something built from the older.
function mod.put(db, batch)
  local built = { batch = batch, built = json_keys(tags_of.BUILT) }
  local overtaken = db:execute(OVERTAKEN, built)[1]
  db:execute(PUT, { batch = batch })
  db:execute(USED, { batch = batch })
  return overtaken + db:execute(OUTDATED, built)[1]
end

-- Lets the least recently used go while there are more than that many; gives
-- back how many went.
function mod.bound(db, most_rows, most_bytes)
  local size = db:execute [[
select count(*) as rows,
       coalesce(sum(length(answer) + 2 * length(tags) + 200), 0) as bytes
  from entry]]
  local rows, bytes = size[1].rows, size[1].bytes
  local share = math.max(rows / most_rows, bytes / most_bytes)
  if share > 1 then
    local surplus = math.ceil(rows * (1 - 0.9 / share))
    db:execute(
      [[delete from entry where path in
          (select path from entry order by used_at limit :surplus)]],
      { surplus = surplus }
    )
    return surplus
  end
  return 0
end

-- What is secret and nobody has needed since then is nobody's to find.
function mod.forget_secrets(db, since)
  db:execute(
    [[delete from entry where kind in ('dkim_key', 'smtp_login')
         and used_at < :since]],
    { since = since }
  )
end

local KIND = "substr(key, 1, instr(key || '/', '/') - 1)"
local CREATED = [[
select count(*) from json_each(:tags) t
 where t.value->>1 and ]] .. KIND .. [[ in (select value from json_each(:built))
   and not exists (select 1 from name where tag = t.key)]]
local CHANGED = 'insert into change (tag, kind, revision, at) select key, '
  .. KIND
  .. [[, value->>0, :at from json_each(:tags) where true
  on conflict (tag) do update set revision = excluded.revision,
     at = excluded.at where excluded.revision > revision]]
local APPEARED = [[
insert or ignore into name (tag)
  select key from json_each(:tags) where value->>1]]
local DISAPPEARED = [[
delete from name where tag in
  (select key from json_each(:tags) where not value->>1)]]
local FLOORS = [[
insert into floor (kind, revision, at)
  select key, value, :at from json_each(:floors) where true
  on conflict (kind) do update set revision = excluded.revision,
     at = excluded.at where excluded.revision > revision]]
local UNINDEXED = [[
delete from indexed where kind in (select key from json_each(:floors))]]
-- A floor says more than they do.
local COVERED = [[
delete from change where revision <=
  (select revision from floor where floor.kind = change.kind)]]
local MOVED = [[
update position set number = :number, stamp = :stamp, touched_at = :at,
       generation = :generation]]

-- What the window forgets is judged for the last time: what still holds is
-- labelled anew, so that what is in use stays.
local RENEW = [[
update entry as e set label = (select number from position)
 where label >= (select begins from position) and label < :cut
   and era = (select era from position) and ]] .. store.BROKEN_AT .. ' is null'

-- What was read ahead of what was applied is good as stale only: its history
-- may have ended there while nobody looked.
function mod.doubt_ahead(db)
  db:execute [[update entry set era = era - 1
                where label > (select number from position)]]
end

local function one(db, sql)
  return db:execute(sql)[1]
end

local function forget_the_oldest(db)
  if one(db, 'select count(*) from change') <= MOST_TAGS then
    return
  end
  local cut = one(
    db,
    'select revision from change order by revision desc limit 1 offset '
      .. KEPT_TAGS
  )
  db:execute(RENEW, { cut = cut })
  db:execute('delete from change where revision <= :cut', { cut = cut })
  db:execute('update position set begins = max(begins, :cut)', { cut = cut })
end

-- Takes in what happened up to news.number. Gives back how many documents are
-- new of the kinds that queues are built from.
function mod.apply(db, news, generation, now)
  local tags = kumo.json_encode(news.tags)
  local floors = kumo.json_encode(news.floors)
  return in_transaction(db, function()
    local created =
      db:execute(CREATED, { tags = tags, built = json_keys(tags_of.BUILT) })
    db:execute(CHANGED, { tags = tags, at = now })
    db:execute(APPEARED, { tags = tags })
    db:execute(DISAPPEARED, { tags = tags })
    if next(news.floors) then
      db:execute(FLOORS, { floors = floors, at = now })
      db:execute(UNINDEXED, { floors = floors })
      db:execute(COVERED)
    end
    db:execute(MOVED, {
      number = news.number,
      stamp = news.stamp,
      at = now,
      generation = generation,
    })
    forget_the_oldest(db)
    return created[1]
  end)
end

-- Another history, or the first reading of one: nothing held is vouched for.
function mod.reset(db, news, era, generation, now)
  in_transaction(db, function()
    db:execute 'delete from change'
    db:execute 'delete from floor'
    db:execute 'delete from indexed'
    db:execute(
      [[update position set number = :number, stamp = :stamp,
          begins = :number, era = :era, generation = :generation,
          touched_at = :at, reset_at = :at]],
      {
        number = news.number,
        stamp = news.stamp,
        era = era,
        generation = generation,
        at = now,
      }
    )
  end)
end

-- The name index of a kind, read anew: begin, then its pages, then done.
function mod.begin_names(db, kind)
  in_transaction(db, function()
    db:execute('delete from indexed where kind = :kind', { kind = kind })
    db:execute(
      [[delete from name where tag = :kind
          or (tag > :kind || '/' and tag < :kind || '0')]],
      { kind = kind }
    )
  end)
end

function mod.add_names(db, tags)
  db:execute(
    [[insert or ignore into name (tag) select value from json_each(:tags)]],
    { tags = kumo.json_encode(tags) }
  )
end

function mod.names_done(db, kind)
  db:execute(
    'insert or ignore into indexed (kind) values (:kind)',
    { kind = kind }
  )
end

function mod.indexed(db)
  local done = {}
  for _, kind in ipairs(db:execute 'select kind from indexed') do
    done[kind] = true
  end
  return done
end

function mod.touched(db, now)
  db:execute('update position set touched_at = :at', { at = now })
end

return mod
