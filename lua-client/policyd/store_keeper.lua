--[[
The node store's file: made, looked at, moved aside, owned.

    store_keeper.prepare()              -- pre_init, before any handler runs
    local lock = store_keeper.own(2000) -- the feed, for as long as the process lives

One live process owns a store, or two would each believe what the other one
applied. The lock is SQLite's own, on a file beside the store, so it ends with
the process however that ends. What cannot be used is moved aside, never
deleted.
]]
local kumo = require 'kumo'
local sqlite = require 'sqlite'
local handles = require 'policyd.handles'
local store = require 'policyd.store'

local mod = {}
-- 'PLCY': a store that says something else is somebody else's file.
local APPLICATION = 0x504c4359

local SCHEMA = {
  'pragma application_id = ' .. APPLICATION,
  [[create table position (
      id integer primary key check (id = 1), number integer, stamp text,
      begins integer not null default 0, era integer not null default 1,
      generation integer not null default 0, touched_at integer,
      reset_at integer)]],
  'insert into position (id) values (1)',
  [[create table change (
      tag text primary key, kind text not null, revision integer not null,
      at integer not null) without rowid]],
  'create index change_by_revision on change (revision)',
  [[create table floor (
      kind text primary key, revision integer not null, at integer not null)
      without rowid]],
  'create table name (tag text primary key) without rowid',
  'create table indexed (kind text primary key) without rowid',
  [[create table entry (
      path text primary key, kind text not null, status text not null,
      answer text, tags text not null, label integer not null,
      era integer not null, valid_until real, fetched_at integer not null,
      used_at integer not null)]],
  'create index entry_by_use on entry (used_at)',
  [[create table tagged (tag text, path text, primary key (tag, path))
      without rowid]],
  [[create trigger entry_begins after insert on entry begin
      insert or ignore into tagged
        select value, new.path from json_each(new.tags); end]],
  [[create trigger entry_ends after delete on entry begin
      delete from tagged where path = old.path and tag in
        (select value from json_each(old.tags)); end]],
  [[create trigger entry_changes after update of tags on entry
      when old.tags <> new.tags begin
      delete from tagged where path = old.path and tag in
        (select value from json_each(old.tags));
      insert or ignore into tagged
        select value, new.path from json_each(new.tags); end]],
  'pragma user_version = ' .. handles.FORMAT,
}

local function lock_path()
  return store.path() .. '.lock'
end

function mod.own(patience)
  local lock = sqlite.open(lock_path(), patience)
  local ok = pcall(lock.execute, lock, 'begin exclusive')
  if ok then
    return lock
  end
  lock:close()
end

local function one(db, sql)
  return db:execute(sql)[1]
end

-- What is wrong with the file; nil if it can be used, or is new.
local function problem_with(db)
  if one(db, 'select count(*) from sqlite_master') == 0 then
    return nil
  end
  if
    one(db, 'pragma application_id') ~= APPLICATION
    or one(db, 'pragma user_version') ~= handles.FORMAT
  then
    return 'it is of another kind or format'
  end
  local check = one(db, 'pragma quick_check(1)')
  return check ~= 'ok' and check or nil
end

local function move_aside(path, why)
  local aside = string.format('%s.set-aside-%d', path, os.time())
  for _, suffix in ipairs { '', '-wal', '-shm' } do
    os.rename(path .. suffix, aside .. suffix)
  end
  kumo.log_error(
    string.format(
      'policyd: the store %s was moved aside to %s, and a new one is begun: %s',
      path,
      aside,
      why
    )
  )
end

-- A store at this path that can be used, made if need be.
local function made(path)
  local db = sqlite.open(path, 5000)
  local ok, problem = pcall(problem_with, db)
  if not ok or problem then
    db:close()
    move_aside(path, tostring(problem):gsub('\n.*', ''))
    db = sqlite.open(path, 5000)
  end
  db:execute 'pragma journal_mode = wal'
  if one(db, 'select count(*) from sqlite_master') == 0 then
    db:execute 'begin immediate'
    for _, statement in ipairs(SCHEMA) do
      db:execute(statement)
    end
    db:execute 'commit'
  end
  return db
end

-- Before any handler runs: the store is there and open, or it is off.
function mod.prepare()
  local ok, problem = pcall(function()
    local lock = mod.own(0)
    if not lock then
      error('another live process owns it', 0)
    end
    local db = made(store.path())
    local position = db:execute 'select era, generation from position'
    handles.era:observe(position[1].era)
    handles.generation:observe(position[1].generation)
    db:close()
    lock:close()
  end)
  if ok then
    handles.store:observe(handles.STORE_OPEN)
  else
    store.switch_off(problem)
  end
end

return mod
