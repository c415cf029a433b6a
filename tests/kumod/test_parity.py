"""KumoMTA's helpers on files, and policyd's modules on the same files imported, in the same real kumod."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.contract import recorded
from tests.contract.questions import asked_of_the_helper, expected, holds, plain_listener_domain
from tests.contract.questions import recorded as in_our_form
from tests.contract.reach import within_reach
from tests.integration.conftest import head
from tests.kumod.process import command
from tests.kumod.test_validate import needs_stock
from tests.lua import parity_node
from tests.lua.parity_node import ANSWERED, HOLD
from tests.lua.test_behaviour import PARITY as BEHAVIOUR
from tests.lua.test_behaviour import behaviour_server, kind_of  # noqa: F401 - a fixture
from tests.lua.test_parity import ON_MISSING
from tests.lua.test_stock_helpers import ordered

SETS = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.soak if i % 4 else ()) for i, name in enumerate(recorded.SETS)],
)
SCRIPT = Path(__file__).with_name("parity.lua")
MODULES = """
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
require('policyd.sources'):setup()
package.loaded.queue_helper = require('policyd.queue'):setup()
"""


async def script(policy: Path, *arguments: str | Path) -> list[str]:
    """What a script of kumod prints."""
    process = await asyncio.create_subprocess_exec(
        *command("--script", "--policy", policy, "--", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return printed.decode().splitlines()


async def answers(which: str, questions: Path, *files: Path) -> list[object]:
    printed = await script(SCRIPT, which, questions, *files)
    return [json.loads(line.removeprefix("ANSWER ")) for line in printed if line.startswith("ANSWER ")]


@needs_stock
@SETS
async def test_stock_helpers_answer_in_this_kumod_what_was_recorded(name, questions):
    files = (recorded.folder(name) / f"{kind}.toml" for kind in ("listener_domains", "sources", "queues"))
    asked = list(recorded.answers(name, *ANSWERED))
    for each, answered in zip(asked, await answers("stock", questions(name), *files), strict=True):
        assert ordered(answered) == ordered(each.result), each


@SETS
async def test_modules_answer_in_this_kumod_what_was_recorded_save_for_what_is_named(
    site, service, name, questions
):
    """The rules are those of tests/lua/test_parity.py."""
    policy = recorded.files(name)
    await parity_node.replace(site.db, policy)
    await service.reach(await head(site.db))
    on_missing = await site.db.fetchval(ON_MISSING)
    asked = list(recorded.answers(name, *ANSWERED))
    given = await answers("policyd", questions(name), site.write_policy(MODULES))
    for each, params in zip(asked, given, strict=True):
        answered = said(each.question, params)
        if answered == in_our_form(each.question, each.result):
            continue
        if each.question["kind"] == "queue" and holds(each.question, policy, on_missing):
            assert answered == {"options": HOLD}, each
            continue
        in_reach = within_reach(each.question, policy)
        assert in_reach != policy, each
        assert asked_of_the_helper(each.question, expected(each.question, in_reach, "stock")) == answered, (
            each
        )


def said(question, params):
    """What went to the constructor, in the form of the models."""
    if params is None:
        return None
    if question["kind"] == "listener_domain":
        return plain_listener_domain(params)
    if question["kind"] == "egress_pool":
        return in_our_form(question, {"name": params["name"], "entries": params.get("entries", [])})
    if question["kind"] == "egress_source":
        params = {key: value for key, value in params.items() if key != "ttl"}
    return in_our_form(question, params)


@pytest.fixture
def questions(tmp_path):
    """The questions of a set that are asked here, in a file."""

    def write(name: str) -> Path:
        path: Path = tmp_path / "questions.json"
        path.write_text(json.dumps([each.question for each in recorded.answers(name, *ANSWERED)]))
        return path

    return write


async def test_this_kumod_behaves_as_the_recorded_one(tmp_path, behaviour_server):  # noqa: F811 - the fixture
    printed = await script(BEHAVIOUR / "behaviour.lua", tmp_path, behaviour_server)
    shown = [line for line in printed if line.startswith("CASE")]
    recorded_lines = (BEHAVIOUR / "behaviour.out").read_text().splitlines()
    different = [
        (now, then)
        for now, then in zip(shown, recorded_lines, strict=True)
        if (kind_of(now) != kind_of(then) if " ! " in then else now != then)
        if " version = " not in then  # what was built from source need not have a date
    ]
    assert not different
