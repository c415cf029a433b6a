--[[
What a service means by an answer that is none. Loaded when the first one comes.

    local says, name = problems.of { status = 409, body = '{"type": "urn:policyd:problem:other-history"}' }
      --> 'status 409: it has another history than the one this node knows', 'other-history'
]]
local handles = require 'policyd.handles'

local mod = {}
local PROBLEM = '"urn:policyd:problem:([%w-]+)"'
local DRILL = '"urn:policyd:problem:drill"'
local SAYS = {
  [400] = 'refuses the request',
  [401] = 'does not accept the token',
  [403] = 'says that the token may not ask this',
  [409] = 'has another history than the one this node knows',
  [429] = 'is asked too often',
  [503] = 'cannot answer at the moment',
}
local SAYS_OF_PROBLEM = {
  drill = 'fails on purpose, for a drill',
  plaintext = 'answers this over TLS, or to its own machine, only: '
    .. 'https:// is needed in endpoints',
  ['key-unusable'] = 'has a private key there that cannot be used',
  ['key-gone'] = 'has another private key there now',
}

-- What fails because of a drill is something that the node tells of.
function mod.note_drill(problem)
  if problem:find(DRILL, 1, true) then
    handles.drill:observe(os.time())
    handles['count.drilled']:increment(1)
  end
end

-- What is wrong, and the name of the service's own problem if it is one.
function mod.of(response)
  local status, body = response.status, response.body
  local name = body:match(PROBLEM)
  mod.note_drill(body)
  local says = SAYS_OF_PROBLEM[name] or SAYS[status] or 'failed'
  -- The scope, the domain or the network that a token lacks.
  local needed = name == 'forbidden'
    and body:match '"detail":"[^"]-: ([%w .*_-]+) is needed"'
  if needed then
    says = string.format('%s: %s is needed', says, needed)
  end
  return string.format('status %d: it %s', status, says), name
end

return mod
