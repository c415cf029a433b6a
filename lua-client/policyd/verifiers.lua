--[[
Logins through an outage: what a password that was right leaves in the store,
under the store key (seal.lua), and how another attempt is checked by it.

    verifiers.keep(attempt, said, now)  -- after the service said yes
    verifiers.check(attempt, now)       --> { username, tenant }, or nil: nobody can say

A verifier is a MAC of a digest of salt and password, repeated up to a megabyte.
It is good as long as the rule says that nothing has changed, for auth_max_stale
after the last contact with the service. Nothing here ever says no: in an outage
nobody knows whether the password has become another one.
]]
local kumo = require 'kumo'
local fetching = require 'policyd.fetching'
local handles = require 'policyd.handles'
local lookup = require 'policyd.lookup'
local marks = require 'policyd.marks'
local names = require 'policyd.names'
local seal = require 'policyd.seal'
local store = require 'policyd.store'

local mod = {}
local KIND = 'smtp_login'
local DIGESTED = 1 << 20
local SALT = 16
-- For so long nobody looks whether it is still in the store.
local KEPT_FOR = 1800
local CLOCK_SLACK = 300
-- Failures within ten minutes after which attempts are not looked at: of a
-- username from one network, of a username.
local MOST_OF_ONE, MOST_OF_ALL = 10, 100

local function path_of(username)
  return '/smtp-auth/' .. names.quoted(username)
end

local function verifier(path, salt, password)
  local unit = table.concat({ salt, password, '' }, '\0')
  local digest = kumo.digest.sha512(unit:rep(DIGESTED // #unit + 1))
  return seal.mac('login', path, digest.hex)
end

local function new_salt()
  local file = assert(io.open('/dev/urandom', 'rb'))
  local salt = file:read(SALT)
  file:close()
  return kumo.encode.base64_encode(salt)
end

-- Of which version of the row it is.
local function newest(tags)
  local changes = lookup.known_changes()
  local revision = 0
  for _, tag in ipairs(changes and tags or {}) do
    revision = math.max(revision, changes.tags[tag] or 0)
  end
  return revision
end

local function row_of(path, attempt, said)
  local salt = new_salt()
  return kumo.json_encode {
    username = said.username,
    tenant = said.tenant,
    networks = said.networks,
    valid_until = said.valid_until,
    salt = salt,
    verifier = assert(verifier(path, salt, attempt.password)),
  }
end

function mod.keep(attempt, said, now)
  if handles.store:sum() ~= handles.STORE_OPEN or not seal.is_possible() then
    return
  end
  local path, era = path_of(attempt.username), handles.era:sum()
  local mark = string.format('%s %d %d', path, era, newest(said.tags))
  if now < marks.ends('login', mark) then
    return
  end
  local got = {
    status = 'found',
    answer = seal.close(path, row_of(path, attempt, said)),
    tags = said.tags,
    label = said.label,
    valid_until = said.valid_until,
  }
  if got.answer then
    fetching.hand_over(fetching.record(KIND, path, got, era, now))
    marks.set('login', mark, now + KEPT_FOR)
  end
end

local function slots_of(attempt)
  local network = attempt.peer:match '^%d+%.%d+%.%d+%.' or attempt.peer
  return {
    { attempt.username .. ' ' .. network, MOST_OF_ONE },
    { attempt.username, MOST_OF_ALL },
  }
end

local function is_limited(slots)
  for _, slot in ipairs(slots) do
    if marks.count('login', slot[1]):sum() >= slot[2] then
      return true
    end
  end
  return false
end

local function is_admitted(row, address, now)
  if row.valid_until and now >= row.valid_until then
    return false
  elseif not row.networks then
    return true
  end
  local map = kumo.cidr.make_map()
  for _, network in ipairs(row.networks) do
    map[network] = true
  end
  return map[address:match '^::ffff:([%d.]+)$' or address] == true
end

-- What the store has of a login that the rule says is as it was.
local function held(path, now)
  local entry = store.read(path, now)
  if not entry or not entry.valid then
    return nil
  end
  local age = handles.in_touch(now) and 0 or now - entry.since
  local most = require('policyd').CONFIGURED.auth_max_stale
  if age > most or age < -CLOCK_SLACK then
    return nil
  end
  local text = seal.open(path, entry.answer)
  return text and kumo.json_parse(text)
end

function mod.check(attempt, now)
  if not seal.is_possible() then
    return nil
  end
  local path = path_of(attempt.username)
  local row = held(path, now)
  local slots = slots_of(attempt)
  if not row or is_limited(slots) then
    return nil
  end
  local mine = verifier(path, row.salt, attempt.password)
  if not mine or not seal.are_equal(mine, row.verifier) then
    for _, slot in ipairs(slots) do
      marks.count('login', slot[1]):increment(1)
    end
    return nil
  end
  if is_admitted(row, attempt.peer, now) then
    return { username = row.username, tenant = row.tenant }
  end
end

return mod
