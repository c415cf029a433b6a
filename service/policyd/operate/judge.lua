--[[
What kumod's own constructors say of policy, for `policyd validate --kumod`.

    kumod --policy judge.lua --script -- INPUT OUTPUT AT

INPUT has one JSON object a line: `kind` and `params`. OUTPUT gets one for
each that is refused, with the number of its line, and a last one that says
that all were judged. AT holds the number of the line that is being judged: a
kumod that dies of one is to be known by it.
]]
local kumo = require 'kumo'

local makers = {
  listener_domain = kumo.make_listener_domain,
  egress_source = kumo.make_egress_source,
  egress_pool = kumo.make_egress_pool,
  queue = kumo.make_queue_config,
  egress_path = kumo.make_egress_path,
  signer = kumo.dkim.rsa_sha256_signer,
}

function makers.rate(params)
  kumo.make_throttle('policyd-validate-' .. params.name, params.rate)
end

function makers.shaping(params)
  local shaping = kumo.shaping.load({ params.path }, { local_load = 'Error' })
  local problem = shaping:get_errors()[1]
  if problem then
    error(problem, 0)
  end
end

kumo.on('main', function(input, output, at)
  local found = assert(io.open(output, 'w'))
  local place = assert(io.open(at, 'w'))
  local number = 0
  for line in io.lines(input) do
    number = number + 1
    place:seek 'set'
    place:write(number)
    place:flush()
    local each = kumo.json_parse(line)
    local ok, problem = pcall(makers[each.kind], each.params)
    if not ok then
      local said = { line = number, problem = tostring(problem) }
      found:write(kumo.json_encode(said), '\n')
    end
  end
  found:write(kumo.json_encode { judged = number }, '\n')
  found:close()
  place:close()
end)
