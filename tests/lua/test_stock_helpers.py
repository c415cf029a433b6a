"""KumoMTA's own helpers, where they are installed, answer in the simulation what they answered in a real kumod."""

import json
import os
from pathlib import Path

import pytest

from tests.contract import recorded
from tests.contract.reference import shaping as model

SHARE = Path(os.environ.get("KUMO_SHARE", "/opt/kumomta/share"))
pytestmark = pytest.mark.skipif(
    not (SHARE / "policy-extras" / "queue.lua").exists(),
    reason="KumoMTA's policy-extras are not installed (KUMO_SHARE names the folder above them)",
)
POLICY = """
local kumo = require 'kumo'
local dir = '%(dir)s/'
local listener_domains = require('policy-extras.listener_domains'):setup { dir .. 'listener_domains.toml' }
require('policy-extras.sources'):setup { dir .. 'sources.toml' }
local queue = require('policy-extras.queue'):setup { dir .. 'queues.toml' }
local conn_meta = { get_meta = function(_, name) return name == 'received_from' and '192.0.2.1:5' or nil end }
kumo.on('get_listener_domain', listener_domains)
kumo.on('listener_domain', function(domain, listener) return listener_domains(domain, listener, conn_meta) end)
kumo.on('queue', function(domain, tenant, campaign) return kumo.json_encode(queue:resolve_config(domain, tenant, campaign)) end)
local files = { dir .. 'shaping1.toml', dir .. 'shaping2.toml' }
local load = kumo.memoize(function() return kumo.shaping.load(files, { local_load = 'Error' }) end,
  { name = 'user.shaping', ttl = '1 hour', capacity = 1 })
kumo.on('shaping', function(domain, source)
  local ok, mx = pcall(kumo.dns.lookup_mx, domain)
  local site = ok and mx.site_name or domain
  return site, kumo.json_encode(load():get_egress_path_config(domain, source, site))
end)
"""


@pytest.fixture(params=recorded.SETS)
async def stock(request, kumod):
    folder = recorded.folder(request.param)
    node = await kumod(
        POLICY.replace("%(dir)s", str(folder)),
        package_path=f"{SHARE}/?.lua",
        mx=model.exchangers((folder / "zones.json").read_text()),
    )
    return request.param, node


def ordered(value):
    """Without the order of a pool's entries, which means nothing in the stock helper; empty lists are empty tables there."""
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in value.items()} or []
    if isinstance(value, list):
        return sorted((ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


async def answer(node, question):
    match question["kind"]:
        case "listener_domain":
            return await node.listener_domain(question["domain"], question["listener"])
        case "queue":
            asked = (question["domain"], question.get("tenant"), question.get("campaign"))
            return json.loads((await node.call("queue", *asked))[0])
        case "egress_pool":
            return await node.egress_pool(question["name"])
        case "egress_source":
            return await node.egress_source(question["name"])
        case "shaping":
            site, config = await node.call("shaping", question["domain"], question["source"])
            return {"site": site, "config": json.loads(config)}
        case other:
            raise AssertionError(other)


async def test_stock_helpers_answer_what_was_recorded(stock):
    name, node = stock
    different = []
    for each in recorded.answers(name, "listener_domain", "queue", "egress_pool", "egress_source", "shaping"):
        answered = await answer(node, each.question)
        if ordered(answered) != ordered(each.result):
            different.append((each.line, each.question, answered, each.result))
    assert not different
