"""The simulated node and the real service, over real HTTP."""

import asyncio

import pytest

from tests.integration.conftest import TOKEN, head
from tests.lua.kumo_sim.errors import HandlerFailed

FEED = """
local kumo = require 'kumo'
local seen = kumo.mpsc.define 'seen'
kumo.on('feed', function(args)
  local client = kumo.http.build_client { timeout = '40s' }
  local position = args[2]
  while true do
    local ok, problem = pcall(function()
      local url = args[1] .. '/changes?wait=20&position=' .. position
      local r = client:get(url):bearer_auth(args[3]):timeout('30s'):send()
      if r:status_code() ~= 200 then error('status ' .. r:status_code()) end
      local changes = kumo.json_parse(r:text())
      position = changes.position
      for tag in pairs(changes.tags) do seen:send(tag) end
    end)
    if not ok then seen:send('failed') kumo.sleep(1) end
  end
end)
kumo.on('init', function() kumo.spawn_task { event_name = 'feed', args = { '%(url)s', '%(position)s', '%(token)s' } } end)
kumo.on('seen', function()
  local tags = {}
  for tag in function() return seen:try_recv() end do tags[#tags + 1] = tag end
  return table.concat(tags, ' ')
end)
local client
kumo.on('get_listener_domain', function(domain)
  client = client or kumo.http.build_client {}
  local r = client:get('%(url)s/listener-domain/' .. domain):bearer_auth('%(token)s'):timeout('2s'):send()
  local status, text = r:status_code(), r:text()
  if status ~= 200 and status ~= 404 then error('status ' .. status) end
  local envelope = kumo.json_parse(text)
  if envelope.answer then return kumo.make_listener_domain(envelope.answer) end
end)
"""


@pytest.fixture
async def node(kumod, endpoint, db):
    text = FEED
    for name, value in {"url": endpoint.url, "position": await head(db), "token": TOKEN}.items():
        text = text.replace(f"%({name})s", value)
    made = await kumod(text)
    endpoint.clock = made.clock
    return made


async def seen(node):
    return (await node.call("seen"))[0]


async def test_a_task_hears_of_a_commit_and_a_handler_gets_the_new_answer(node, db):
    assert await node.listener_domain("a.example") is None
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('a.example', true)")
    heard = []

    async def has_heard():
        heard.append(await seen(node))
        return any("listener_domain/*/a.example" in tags for tags in heard)

    await node.until(has_heard)
    assert await node.listener_domain("a.example") == {"relay_to": True}


async def test_a_long_poll_ends_when_the_nodes_clock_says_so_and_not_with_an_error(node):
    await node.advance(300)
    assert "failed" not in await seen(node)


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("refused", "error sending request"),
        ("silent", "error sending request"),
        ("slow", "error sending request"),
        ("cut", "error sending request"),
        ("error", "status 500"),
        ("unauthorized", "status 401"),
        ("html", "parsing <html>"),
        ("truncated", "error decoding response body"),
        ("nonsense", "invalid type: sequence"),
    ],
)
async def test_every_fault_looks_as_it_does_to_kumod(node, endpoint, mode, says):
    await endpoint.be(mode)
    before = node.clock.now
    with pytest.raises(HandlerFailed, match=says):
        await node.listener_domain("a.example")
    assert node.clock.now - before == (2.0 if mode in {"silent", "slow"} else 0.0)
    await endpoint.be("through")
    assert await node.listener_domain("a.example") is None


async def test_what_is_slow_comes_in_time_if_there_is_time(node, endpoint):
    await endpoint.be("slow")
    endpoint.slow_for = 1.5
    assert await node.listener_domain("a.example") is None


async def test_handlers_wait_for_the_service_side_by_side(node, endpoint):
    await endpoint.be("silent")
    before = node.clock.now
    failed = await asyncio.gather(
        *(node.listener_domain(f"{i}.example") for i in range(5)), return_exceptions=True
    )
    assert all(isinstance(failure, HandlerFailed) for failure in failed)
    assert node.clock.now - before == 2.0
