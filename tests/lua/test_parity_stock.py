"""Where KumoMTA's own helpers are installed: they, the models and our modules make the same of random files."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.contract.questions import asked_of_the_helper, expected, plain_listener_domain
from tests.contract.reference import queue
from tests.contract.reference.files import Policy
from tests.contract.reference.queue import Accepted
from tests.contract.strategies import Question, policies, questions_about
from tests.contract.toml_writer import to_toml
from tests.lua import parity_node, test_stock_helpers
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.node import Node
from tests.lua.parity_node import MODULES
from tests.lua.test_parity import soaked

pytestmark = test_stock_helpers.pytestmark
STOCK = """
local kumo = require 'kumo'
local function files(kind, count)
  local list = {}
  for i = 1, count do list[i] = string.format('%s/%%s%%d.toml', kind, i) end
  return list
end
kumo.on('get_listener_domain', require('policy-extras.listener_domains'):setup(files('listener_domains', %d)))
require('policy-extras.sources'):setup(files('sources', %d))
local queue = require('policy-extras.queue'):setup(files('queues', %d))
kumo.on('queue', function(...) return kumo.json_encode(queue:resolve_config(...)) end)
kumo.on('apply', function(msg) queue:apply(msg) end)
"""


@soaked(6)
@given(st.data())
async def test_stock_helpers_make_of_random_files_what_the_models_and_our_modules_make_of_them(
    kumod, site, ours, tmp_path, data
):
    await compare(kumod, site, ours, tmp_path, data)


@pytest.mark.soak
@soaked(500)
@given(st.data())
async def test_stock_helpers_make_of_many_random_files_what_the_models_and_our_modules_make_of_them(
    kumod, site, ours, tmp_path, data
):
    await compare(kumod, site, ours, tmp_path, data)


@pytest.fixture
async def ours(site):
    return await site.node(MODULES)


async def compare(kumod, site, ours: Node, folder: Path, data: st.DataObject) -> None:
    policy = data.draw(policies())
    await parity_node.replace(site.db, policy)
    await site.caught_up(ours)
    stock = await stock_node(kumod, policy, folder / "stock")
    assume(await loads(stock))
    for question in data.draw(st.lists(questions_about(policy), min_size=10, max_size=10)):
        if question["kind"] != "dkim":
            wanted = asked_of_the_helper(question, expected(question, policy, "stock"))
            assert await answer(stock, question) == wanted, question
    for mail in data.draw(st.lists(parity_node.mails(policy), min_size=5, max_size=5)):
        messages = [mail.message(node.clock) for node in (stock, ours)]
        said = [
            await parity_node.applied(node, each) for node, each in zip((stock, ours), messages, strict=True)
        ]
        models = [
            queue.apply(policy["queues"], mail.headers, mail.domain, mail.authz_id, variant)
            for variant in ("stock", "nearest")
        ]
        assert said == models, mail
        if isinstance(said[0], Accepted):
            assert messages[0].header_pairs() == messages[1].header_pairs(), mail
    await stock.stop()


async def stock_node(kumod, policy: Policy, folder: Path) -> Node:
    """A node whose helpers have read the files of the policy."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    kinds = {
        "listener_domains": policy["listener_domains"],
        "sources": policy["sources"],
        "queues": policy["queues"],
    }
    for kind, files in kinds.items():
        for i, file in enumerate(files, 1):
            (folder / f"{kind}{i}.toml").write_text(to_toml(file))
    counts = map(len, kinds.values())
    node: Node = await kumod(STOCK % (folder, *counts), package_path=f"{test_stock_helpers.SHARE}/?.lua")
    return node


async def loads(stock: Node) -> bool:
    """Whether the helper can read the files at all: a list of names in one and of tables in another it cannot merge."""
    try:
        await stock.call("queue", "a.example", None, None)
    except HandlerFailed as failure:
        if "attempt to index a string value (local 'dest')" not in str(failure):
            raise
        return False
    return True


async def answer(stock: Node, question: Question) -> Any:
    """What the stock helper gives to kumod, in the form of the models."""
    try:
        made = await test_stock_helpers.answer(stock, question)
    except HandlerFailed as failure:
        # It gives nil to the constructor for what is not there.
        if "invalid type: nil, expected table" not in str(failure):
            raise
        return None
    match question["kind"], made:
        case "queue", _:
            return {"options": made}
        case "egress_pool", {"name": name}:
            # A source that two files list is in the pool twice; policyd adds the weights up.
            weights: dict[str, list[int | None]] = {}
            for entry in made.get("entries", ()):
                weights.setdefault(entry["name"], []).append(entry.get("weight"))
            return {"name": name, "entries": {source: total(each) for source, each in weights.items()}}
        case "listener_domain", {}:
            return plain_listener_domain({key: [] if value == {} else value for key, value in made.items()})
        case _:
            return made


def total(weights: list[int | None]) -> int | None:
    return weights[0] if len(weights) == 1 else sum(1 if weight is None else weight for weight in weights)
