--[[
After a change: the answers that this node holds and has used are fetched anew
before anybody needs them, and what kumod has built from them is looked at
again if they really differ.

    local moved = refresh.after(db, news, position, os.time())
    bump.plan(moved) …
]]
local kumo = require 'kumo'
local client = require 'policyd.client'
local fetching = require 'policyd.fetching'
local handles = require 'policyd.handles'
local journal = require 'policyd.journal'
local tags = require 'policyd.tags'

local mod = {}
local BATCH = 200
local PAUSE = 0.05
-- As long as a message may stay in a queue that has been built once.
local USED_WITHIN = 7 * 86400

-- Keys and logins are answered one by one: a key never changes under its
-- key_id, and a login is asked for with its password.
local APART = "e.kind not in ('dkim_key', 'smtp_login')"
local BY_TAG = [[
select distinct e.path, e.kind, e.status, e.answer
  from json_each(:tags) c
  join tagged t on t.tag = c.key
  join entry e on e.path = t.path
 where e.used_at > :since and ]] .. APART .. ' order by e.used_at desc'
local BY_KIND = [[
select distinct e.path, e.kind, e.status, e.answer
  from json_each(:floors) f
  join tagged t on t.tag = f.key
    or (t.tag > f.key || '/' and t.tag < f.key || '0')
  join entry e on e.path = t.path
 where e.used_at > :since and ]] .. APART .. ' order by e.used_at desc'

local function held(db, news, now)
  local since = now - USED_WITHIN
  local entries = {}
  local function add(sql, params)
    params.since = since
    for _, entry in ipairs(db:execute(sql, params)) do
      if entry.path and not entries[entry.path] then
        entries[entry.path] = entry
        table.insert(entries, entry)
      end
    end
  end
  if next(news.tags) then
    add(BY_TAG, { tags = kumo.json_encode(news.tags) })
  end
  if next(news.floors) then
    add(BY_KIND, { floors = kumo.json_encode(news.floors) })
  end
  return entries
end

-- A new key is there before the first message that needs it, and before the
-- next outage.
local function prepare(entry, got)
  if entry.kind == 'dkim' and got.answer and got.answer ~= entry.answer then
    local plan = kumo.json_parse(got.answer)
    pcall(require('policyd.private_keys').prepare, plan)
  end
end

-- Fetches and keeps; says whether something that kumod has built differs.
local function renew(db, entries, from, position, now)
  local paths = {}
  for i = from, math.min(from + BATCH - 1, #entries) do
    table.insert(paths, entries[i].path)
  end
  local answers, problem = client.batch(paths, position, 10.0)
  if not answers then
    error(problem, 0)
  end
  local records, moved = {}, false
  local era = handles.era:sum()
  for i = from, from + #paths - 1 do
    local entry = entries[i]
    local got = answers[entry.path]
    if not got then
      -- What it is now, nobody knows.
      moved = moved or tags.BUILT[entry.kind]
    elseif fetching.is_accepted(entry.kind, entry.path, got) then
      local record = fetching.record(entry.kind, entry.path, got, era, now)
      table.insert(records, kumo.json_encode(record))
      prepare(entry, got)
      moved = moved
        or (
          tags.BUILT[entry.kind]
          and (got.answer ~= entry.answer or got.status ~= entry.status)
        )
    end
  end
  if #records > 0 then
    journal.put(db, '[' .. table.concat(records, ',') .. ']')
  end
  return moved
end

-- Whether something that kumod may have built differs now, or cannot be known
-- not to.
function mod.after(db, news, position, now)
  local ok, moved = pcall(function()
    local entries = held(db, news, now)
    local any = false
    for from = 1, #entries, BATCH do
      if from > 1 then
        kumo.sleep(PAUSE)
      end
      any = renew(db, entries, from, position, now) or any
    end
    return any
  end)
  return not ok or moved
end

return mod
