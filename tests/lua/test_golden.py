"""The golden exchanges of tests/contract, asked through the whole Lua client: reduced to rows, fetched, stored, read."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.integration.test_golden import insert
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import ASK, ask

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
KINDS = {
    "listener-domain",
    "egress-source",
    "egress-pool",
    "queue",
    "tenant",
    "queue-settings",
    "webhooks",
    "dkim",
}


def exchanges(name):
    """The lookups of a file as what a handler asks, and what the answer is."""
    for exchange in json.loads((GOLDEN / f"{name}.json").read_text())["exchanges"]:
        parts = urlsplit(exchange["request"]["path"])
        segment, *key = parts.path.removeprefix("/").split("/")
        if segment not in KINDS or len(key) > 1 or "body" not in exchange["response"]:
            continue
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = ("tenant", "campaign") if segment == "queue" else tuple(query)
        further = [query.get(name) for name in asked]
        arguments = [*map(unquote, key), *further]
        yield segment.replace("-", "_"), arguments, exchange["response"].get("body", {}).get("answer")


@pytest.mark.parametrize("name", ["listener_domain", "egress", "queue", "queue_stock", "webhooks", "dkim"])
async def test_a_handler_gets_what_the_service_answers(site, name):
    await insert(site.db, json.loads((GOLDEN / f"{name}.json").read_text())["rows"])
    node = await site.node(ASK)
    asked = list(exchanges(name))
    assert asked
    for _ in range(2):
        for kind, arguments, answer in asked:
            found = await ask(node, kind, *arguments)
            expected = {"status": "none"} if answer is None else {"status": "found", "answer": answer}
            assert found == without_emptiness(expected), (kind, arguments)
        # The second time it comes out of the store.
        await node.advance(1)
        await node.restart()
        await node.advance(1)


async def test_shaping_is_the_file_that_the_service_answers(site):
    golden = json.loads((GOLDEN / "shaping.json").read_text())
    await insert(site.db, golden["rows"])
    node = await site.node("require('policyd.shaping'):setup_with_automation { no_default_files = true }")
    file = site.store.with_name("store.db.shaping.json")
    await node.until(file.exists)
    (answered,) = [each for each in golden["exchanges"] if each["request"]["path"] == "/shaping.json"]
    assert json.loads(file.read_text()) == answered["response"]["body"]


async def test_a_signer_gets_the_very_key_or_none(site, keys):
    golden = json.loads((GOLDEN / "dkim.json").read_text())
    for name, pem in golden["keys"].items():
        keys.write(name, pem.encode())
    await insert(site.db, golden["rows"])
    node = await site.node("require('policyd.dkim_sign'):setup()")
    wanted = [each for each in golden["exchanges"] if "?key_id=" in each["request"]["path"]]
    assert {each["response"]["status"] for each in wanted} == {200, 503}
    for each in wanted:
        path, _, key_id = each["request"]["path"].removeprefix("/dkim/").partition("?key_id=")
        if each["response"]["status"] == 200:
            answer = each["response"]["body"]["answer"]
            assert await node.call("policyd.dkim_key", *path.split("/"), key_id) == (answer["key"],)
        else:
            with pytest.raises(
                HandlerFailed, match=r"the private key of seen\.example, selector gold, is not known"
            ):
                await node.call("policyd.dkim_key", *path.split("/"), key_id)


def without_emptiness(value):
    """As it comes back through kumo.json_encode, which makes an object of every empty list."""
    if isinstance(value, dict):
        return {name: without_emptiness(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_emptiness(inner) for inner in value] or {}
    return value
