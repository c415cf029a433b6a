--[[
The feed task: what changed at the service becomes what this node knows.
Started from pre_init; ends with the process.

    kumo.on('policyd.1.feed', function() require('policyd.feed').run() end)

It long-polls /changes from the node's position, applies what comes to the
store in one transaction, publishes a new generation, refreshes what is held,
and bumps the config epoch if something built from it differs. It reads the
name index when there is none, and again when a floor says so.
]]
local kumo = require 'kumo'
local bump = require 'policyd.bump'
local changes = require 'policyd.changes'
local client = require 'policyd.client'
local construct = require 'policyd.construct'
local handles = require 'policyd.handles'
local index = require 'policyd.index'
local journal = require 'policyd.journal'
local known = require 'policyd.known'
local lookup = require 'policyd.lookup'
local node = require 'policyd.node'
local refresh = require 'policyd.refresh'
local report = require 'policyd.report'
local shaping_feed = require 'policyd.shaping_feed'
local store = require 'policyd.store'
local store_keeper = require 'policyd.store_keeper'
local tags = require 'policyd.tags'

local mod = {}
local WAIT = 5
local PAUSE = 0.1
local FIRST_RETRY, LAST_RETRY = 0.25, 2.0
local TOUCH_STORED_EVERY = 60

local Feed = {}
Feed.__index = Feed

function mod.new()
  local self = setmetatable({
    known = nil,
    retry = FIRST_RETRY,
    is_out_of_touch = true,
    touch_stored = 0,
    plan = bump.new(require('policyd').CONFIGURED.epoch_interval),
    node = node.new(),
  }, Feed)
  self.changes_at = lookup.changes_cache(function()
    return self:window()
  end)
  return self
end

-- What handlers are given.
function Feed:window()
  local mine = self.known
  if not mine then
    return { lost = true }
  end
  return {
    position = mine.position,
    number = mine.number,
    begins = mine.begins,
    tags = mine.tags,
    floors = mine.floors,
    has_floors = mine.has_floors,
  }
end

-- One live process owns the store; a second one does without.
function Feed:open()
  if handles.store:sum() ~= handles.STORE_OPEN then
    return
  end
  local ok, problem = pcall(function()
    self.lock = store_keeper.own(2000)
    if not self.lock then
      error('another live process owns it', 0)
    end
    self.db = journal.open()
    journal.doubt_ahead(self.db)
    self.known = store.window(lookup.WINDOW)
  end)
  if not ok then
    self:lose_store(problem)
  end
end

function Feed:lose_store(problem)
  self.db = nil
  store.switch_off(problem)
end

-- Others may have found it damaged, and keep nothing in it since then.
function Feed:notice_lost_store()
  if self.db and handles.store:sum() ~= handles.STORE_OPEN then
    self.db = nil
  end
end

-- Writes to the store; nil when there is none, or there is none any more.
-- What passes (a full disk) is raised: then nothing was taken in.
function Feed:write(...)
  if not self.db then
    return nil
  end
  local ok, result = pcall(...)
  if ok then
    return result
  elseif store.is_passing(result) then
    error(result, 0)
  end
  self:lose_store(result)
end

function Feed:publish(generation)
  self.changes_at(generation)
  handles.generation:observe(generation)
end

-- A purged cache, or one that somebody else filled with nothing, is filled
-- again.
function Feed:keep_published()
  local generation = handles.generation:sum()
  if self.known and not self.changes_at(generation).number then
    self:publish(generation + 1)
  end
end

local function concerns_built(map)
  for name in pairs(map) do
    if tags.BUILT[known.kind_of(name)] then
      return true
    end
  end
  return false
end

-- `lost`: the last position known of another history, which was read before.
function Feed:begin_anew(news, now, lost)
  local is_other = lost ~= nil
  local generation = handles.generation:sum() + 1
  local era = handles.era:sum() + (is_other and 1 or 0)
  self:write(journal.reset, self.db, news, era, generation, now)
  self.known = changes.new(news.position, lookup.WINDOW)
  index.forget(self)
  -- First the era: nothing of the old one may be held against the new changes.
  handles.era:observe(era)
  if is_other then
    handles.lose(known.packed(known.position(lost)) or 0, now)
  end
  handles.ahead:observe(0)
  self:publish(generation)
  if is_other then
    report.trouble(
      'history',
      'the service has another history now, at ' .. news.position
    )
  end
  if is_other or handles.refreshes:sum() > 0 then
    -- What was built so far was built without knowing what had changed.
    self.plan:want()
  end
end

-- Where a history begins that has not got an answer which this node holds from
-- ahead of what it knows: a restore took it back; and that answer's position.
-- nil while there is none.
function Feed:other_history(number)
  local ahead, position = known.unpacked(handles.ahead:sum())
  if ahead == 0 or (number and ahead <= number) then
    return nil
  end
  local news, problem = client.changes(position, 0)
  if not news then
    error(problem, 0)
  end
  if news.reset then
    return news, position
  end
end

function Feed:take_in(news, now)
  if not next(news.tags) and not next(news.floors) then
    if news.position ~= self.known.position then
      self:apply(news, now)
    end
    return
  end
  local created = self:apply(news, now)
  local is_built = concerns_built(news.tags)
  if concerns_built(news.floors) or (created and created > 0) then
    self.plan:want()
  elseif is_built and (not self.db or handles.unstored:sum() > 0) then
    -- Nobody can tell what was built from it.
    self.plan:want()
  end
  if self.db and refresh.after(self.db, news, self.known.position, now) then
    self.plan:want()
  end
end

function Feed:apply(news, now)
  local generation = handles.generation:sum() + 1
  local created = self:write(journal.apply, self.db, news, generation, now)
  changes.learn(self.known, news)
  index.forget(self, news.floors)
  self:publish(generation)
  return created
end

function Feed:wait(now)
  if self.is_out_of_touch or not self.known or index.is_pending(self) then
    return 0
  end
  local due_in = self.plan:due_in(now) or WAIT
  return math.min(
    WAIT,
    math.ceil(due_in),
    math.max(1, self.node:due_in(self.known, now))
  )
end

function Feed:read_on()
  local position = self.known and self.known.position
  local news, problem = client.changes(position, self:wait(os.time()))
  if not news then
    error(problem, 0)
  end
  local other, lost = self:other_history(self.known and self.known.number)
  news = other or news
  self:notice_lost_store()
  local now = os.time()
  news.number, news.stamp = known.position(news.position)
  if news.reset or not self.known then
    self:begin_anew(news, now, lost or position)
  else
    self:take_in(news, now)
  end
  index.read(self)
  return now, news
end

function Feed:in_touch(now)
  local is_recovered = self.is_out_of_touch
  self.is_out_of_touch = false
  self.retry = FIRST_RETRY
  handles.touch:observe(now)
  handles.breaker:observe(0)
  if now - self.touch_stored >= TOUCH_STORED_EVERY then
    self:write(journal.touched, self.db, now)
    self.touch_stored = now
  end
  self:keep_published()
  if is_recovered then
    -- What could not be had can be had: by the bump below, too.
    handles.tries:increment(1)
  end
  self.plan:pay(now, is_recovered)
  if is_recovered then
    self.node:recovered()
  end
  self.node:report(self.known, now)
end

function Feed:out_of_touch(problem)
  self.is_out_of_touch = true
  handles.touch:observe(0)
  report.trouble('feed', 'out of touch: ' .. construct.reason(problem))
  local now = os.time()
  if node.in_drill(now) then
    self.node:report(self.known or {}, now, true)
  end
  kumo.sleep(self.retry * (0.5 + math.random()))
  self.retry = math.min(self.retry * 2, LAST_RETRY)
end

-- One turn of the loop.
function Feed:turn()
  handles.tick(os.time())
  local ok, problem = pcall(function()
    local now, news = self:read_on()
    self:in_touch(now)
    -- Afterwards, because loading it takes the MX of every domain.
    shaping_feed.read(self, news)
  end)
  if ok then
    -- A storm of commits comes in few answers.
    kumo.sleep(PAUSE)
  else
    self:out_of_touch(problem)
  end
end

function mod.run()
  local feed = mod.new()
  feed:open()
  while true do
    pcall(feed.turn, feed)
  end
end

return mod
