--[[
The name index, as the feed keeps it: read by pages when there is none, or when
a floor says that it is not to be trusted; usable once the feed has applied
everything since the last page was read.

    index.forget(feed, news.floors)  -- these kinds are read anew; without floors, all
    index.read(feed)                 -- what is missing
    index.is_pending(feed)           -- read, but not usable yet
]]
local client = require 'policyd.client'
local journal = require 'policyd.journal'
local known = require 'policyd.known'
local tags = require 'policyd.tags'

local mod = {}

-- feed.indexed: kind -> true when usable, the position's number that it takes
-- when read, nil when not read.
local function states(feed)
  feed.indexed = feed.indexed or feed:write(journal.indexed, feed.db) or {}
  return feed.indexed
end

function mod.forget(feed, floors)
  if not floors then
    feed.indexed = {}
    return
  end
  for kind in pairs(floors) do
    states(feed)[kind] = nil
  end
end

function mod.is_pending(feed)
  for _, state in pairs(states(feed)) do
    if state ~= true then
      return true
    end
  end
  return false
end

-- The number of the last page's position.
local function read_pages(feed, kind)
  local after, number
  feed:write(journal.begin_names, feed.db, kind)
  repeat
    local page, problem, is_unknown =
      client.names(kind, after, feed.known.position)
    if not page and is_unknown then
      -- A service that is older than this client: it has none of these.
      return nil
    elseif not page or type(page.names) ~= 'table' then
      error(problem or 'a page without names', 0)
    end
    number = known.position(page.position)
    feed:write(journal.add_names, feed.db, page.names)
    after = page.next
  until not after
  return number
end

function mod.read(feed)
  if not feed.db then
    return
  end
  local states_now = states(feed)
  for _, kind in ipairs(tags.NAMED) do
    if states_now[kind] == nil then
      states_now[kind] = read_pages(feed, kind)
    end
    local needs = states_now[kind]
    if math.type(needs) and needs <= feed.known.number then
      feed:write(journal.names_done, feed.db, kind)
      states_now[kind] = true
    end
  end
end

return mod
