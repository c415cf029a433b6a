"""What nodes say of themselves, and what people and Prometheus are told of it."""

import asyncio
import json
from typing import Any

import pytest

from policyd.observe.events import NodesRead
from policyd.store.pool import Connection
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.node_reports import LONG_AGO, Run, change, node, runs_against, status

OTHER = "other.abcdefghij0123456789"


@pytest.fixture
def run(dsn: str) -> Run:
    return runs_against(dsn)


async def report(service: Service, name: str, body: Any, **headers: str) -> int:
    async with service.session.put(f"{service.url}/nodes/{name}", json=body, headers=headers) as response:
        return response.status


async def test_what_a_node_says_is_kept_and_its_last_error_until_the_next(
    service: Service, db: Connection
) -> None:
    position = await change(db)
    await service.reach(position)
    said = {
        "applied": position,
        "kumomta_version": "2026.08.04-x",
        "counts": {"stale": 3},
        "error": "disk full",
    }
    assert await report(service, "mx-1", said) == 204
    assert await report(service, "mx-1", {"applied": position, "counts": {"stale": 4}}) == 204
    row = await db.fetchrow("select * from policy.node_state")
    assert row is not None
    assert (row["node_id"], row["token"], row["live"], row["is_ours"], row["behind"]) == (
        "mx-1",
        "test",
        True,
        True,
        0,
    )
    assert (row["counts"], row["last_error"], row["waits_since"]) == ('{"stale": 4}', "disk full", None)
    assert row["first_seen"] <= row["last_error_at"] < row["last_seen"]


async def test_a_name_belongs_to_its_token_until_that_is_revoked_or_the_node_forgotten(
    service: Service, db: Connection, run: Run
) -> None:
    await make_token(db, OTHER, ("status",))
    await service.reach(await head(db))
    assert await report(service, "mx-1", {}) == 204
    assert await report(service, "mx-1", {}, Authorization=f"Bearer {OTHER}") == 403
    assert (await run("nodes", "forget", "mx-1")).output == "forgot mx-1\n"
    assert await report(service, "mx-1", {}, Authorization=f"Bearer {OTHER}") == 204
    assert await report(service, "mx-1", {}) == 403
    await db.execute("delete from policy.api_token where name = 'other'")
    assert await report(service, "mx-1", {}) == 204


async def test_of_a_thousand_nodes_a_silent_one_makes_room_and_a_live_one_does_not(
    service: Service, db: Connection
) -> None:
    await db.execute(
        "insert into policy.node (node_id, last_seen)"
        " select 'mx-' || n, now() - interval '11 minutes' * (n <= 2) :: int - interval '1 ms' * n from generate_series(1, 1000) as n"
    )
    for name, expected in (("new-1", 204), ("new-2", 204), ("new-3", 403), ("mx-3", 204)):
        assert await report(service, name, {}) == expected, name
    gone = await db.fetch(
        "select 'mx-' || n from generate_series(1, 1000) as n except select node_id from policy.node"
    )
    assert sorted(row[0] for row in gone) == ["mx-1", "mx-2"]


async def test_every_replica_shows_every_node_and_forgets_the_dead(dsn: str, db: Connection) -> None:
    await make_token(db)
    await node(db, "dead", await head(db), seen="now() - interval '31 days'")
    await node(db, "quiet", await head(db), seen="now() - interval '29 days'", counts={"unknown": 7})
    async with serving(make_config(dsn)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, NodesRead) and len(seen.nodes) == 2)
        async with asyncio.timeout(20):
            while await db.fetchval("select count(*) from policy.node") == 2:
                pass
        async with service.session.get(service.admin_url + "/metrics") as response:
            text = await response.text()
        assert 'policyd_node_lag_seconds{node="quiet"} 0.0' in text
        assert 'policyd_node_answers_total{node="quiet",outcome="unknown"} 7.0' in text
    assert [row[0] for row in await db.fetch("select node_id from policy.node")] == ["quiet"]


async def test_the_list_says_how_far_each_node_is_and_what_went_wrong(db: Connection, run: Run) -> None:
    assert (await run("nodes")).output.startswith("no node has reported yet")
    old = await change(db, 1)
    new = await change(db, 2)
    await node(db, "behind", old)
    await node(db, "elsewhere", new[:-8] + "00000000")
    await node(db, "fine", new, counts={"stale": 2, "unknown": 1}, version="2026.08.04-x", error="disk\nfull")
    await node(db, "gone", new, seen=LONG_AGO)
    await node(db, "young", None)
    lines = [line.split("\t") for line in (await run("nodes")).output.splitlines()]
    shown = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    assert list(shown) == ["behind", "elsewhere", "fine", "gone", "young"]
    assert [shown[name]["state"] for name in ("fine", "gone")] == ["live", "silent"]
    assert [shown["fine"][name] for name in ("applied", "lag", "stale", "unknown", "last error")] == [
        new, "none", "2", "1", "disk full",
    ]  # fmt: skip
    assert shown["behind"]["lag"].startswith("1 revision, ")
    assert shown["elsewhere"]["lag"].startswith("another history for ")
    assert shown["young"]["lag"].startswith("nothing applied for ")
    told = {each["node"]: each for each in json.loads((await run("nodes", "--json")).output)}
    assert (told["behind"]["revisions_behind"], told["behind"]["of_this_history"]) == (1, True)
    assert (told["elsewhere"]["revisions_behind"], told["elsewhere"]["of_this_history"]) == (None, False)
    assert told["fine"]["answers"] == {"stale": 2, "unknown": 1}


async def test_who_forgets_a_stranger_is_told_so(run: Run) -> None:
    result = await run("nodes", "forget", "nobody")
    assert (status(result), str(result.exception)) == (1, "there is no node nobody")
