--[[
Marks: that something holds for a name until a time, known to all contexts.

    marks.set('signer', 'a.example s1', os.time() + 120)
    marks.ends('signer', 'a.example s1')  --> when; 0 for what is not marked

Names share a bounded number of counter series; a mark says whose it is. So one
may be overwritten by another: a mark is a hint, whose absence must do no harm.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local SLOTS = 65536
local UNTIL_BITS = 34

-- What a name is marked by: 28 bits, which may be given for a name everywhere.
function mod.hash(name)
  local hash = 0
  for i = 1, #name do
    hash = (hash * 31 + name:byte(i)) & 0xfffffff
  end
  return hash
end

local function slot_of(group, name)
  local hash = math.type(name) and name or mod.hash(name)
  return handles.series(group .. '.' .. hash % SLOTS), hash
end

function mod.set(group, name, ends)
  local series, hash = slot_of(group, name)
  series:observe((hash << UNTIL_BITS) | ends)
end

function mod.ends(group, name)
  local series, hash = slot_of(group, name)
  local value = series:sum()
  if value >> UNTIL_BITS == hash then
    return value & ((1 << UNTIL_BITS) - 1)
  end
  return 0
end

-- What is counted for a name within the last ten minutes.
function mod.count(group, name)
  local _, hash = slot_of(group, name)
  return kumo.counter_series.define {
    name = handles.name(string.format('%s.count.%d', group, hash % SLOTS)),
    num_buckets = 10,
    bucket_size = '1 minute',
  }
end

return mod
