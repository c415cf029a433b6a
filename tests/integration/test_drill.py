"""Drills: what a row names fails for whom it names, at every replica, and for no longer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from policyd.observe.events import CurrencyLost, DrillBegan, DrillEnded
from policyd.store.pool import Connection
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.proxy import proxying

KNOWN = "/listener-domain/known.example"
OTHER = "mx-2.abcdefghij0123456789"
ASKED = (KNOWN, "/queue/known.example", "/queue-settings", "/dkim/known.example", "/shaping.json", "/webhooks", "/names/tenant", "/changes")  # fmt: skip


@contextlib.asynccontextmanager
async def drilling(
    service: Service,
    db: Connection,
    *,
    kinds: str | None = None,
    nodes: str | None = None,
    lasts: str = "1 min",
) -> AsyncIterator[None]:
    """A drill that the service has heard of; ended when the context is left."""
    said = len(service.observations.seen)
    number = await db.fetchval(
        "insert into policy.drill (kinds, nodes, until) values ($1::text::text[], $2::text::text[], clock_timestamp() + $3::text::interval)"
        " returning number",
        kinds,
        nodes,
        lasts,
    )
    await service.observations.wait_for(lambda seen: isinstance(seen, DrillBegan), after=said)
    yield
    await db.execute("delete from policy.drill where number = $1", number)
    await service.observations.wait_for(lambda seen: isinstance(seen, DrillEnded), after=said)


async def status(service: Service, path: str, **headers: str) -> int:
    return (await service.get(path, **headers))[0]


@pytest.fixture
async def asked(service: Service, db: Connection) -> Service:
    """The service, with answers in its cache."""
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('known.example', true)")
    await make_token(db, OTHER)
    await service.reach(await head(db))
    for path in ASKED:
        assert await status(service, path) in (200, 404)
    return service


async def test_a_drill_makes_everything_fail_but_reports_and_what_is_open(
    asked: Service, db: Connection
) -> None:
    async with drilling(asked, db):
        for path in ASKED:
            code, body, headers = await asked.get(path)
            assert (code, body["type"], headers["Retry-After"]) == (503, "urn:policyd:problem:drill", "1"), (
                path
            )
            assert "Policy-Position" not in headers
        assert (await asked.post("/batch", [KNOWN]))[0] == 503
        login = {"username": "u", "password": "p", "peer": "192.0.2.1"}
        assert (await asked.post("/smtp-auth", login))[1]["type"] == "urn:policyd:problem:drill"
        assert await status(asked, "/openapi.json") == 200
        async with asked.session.put(asked.url + "/nodes/mx-1", json={"in_touch": False}) as response:
            assert response.status == 204
        assert await db.fetchval("select not in_touch from policy.node_state")
        async with asked.session.get(asked.admin_url + "/readyz") as response:
            assert response.status == 200
    assert [await status(asked, path) for path in (KNOWN, "/changes")] == [200, 200]


async def test_a_drill_of_one_kind_leaves_the_others_alone(asked: Service, db: Connection) -> None:
    async with drilling(asked, db, kinds="{dkim,queue}"):
        failed = [path for path in (*ASKED, "/dkim/known.example/s1") if await status(asked, path) == 503]
        assert failed == ["/queue/known.example", "/dkim/known.example", "/dkim/known.example/s1"]
        code, answers, _ = await asked.post("/batch", [KNOWN, "/queue/known.example"])
        assert (code, [answer["status"] for answer in answers]) == (200, [200, 503])
        assert answers[1]["problem"]["type"] == "urn:policyd:problem:drill"


async def test_a_drill_of_one_node_leaves_the_others_alone(asked: Service, db: Connection) -> None:
    """A node says who it is; one that does not is called as its token."""
    other = {"Authorization": f"Bearer {OTHER}"}
    async with drilling(asked, db, nodes="{mx-1,mx-2}"):
        assert [
            await status(asked, KNOWN),
            await status(asked, KNOWN, Policy_Node="mx-1"),
            await status(asked, KNOWN, Policy_Node="mx-3"),
            await status(asked, KNOWN, **other),
            await status(asked, KNOWN, Policy_Node="mx-3", **other),
        ] == [200, 503, 200, 503, 200]


async def test_who_waits_for_changes_is_part_of_the_drill_from_its_beginning(
    asked: Service, db: Connection
) -> None:
    position = await head(db)
    path = f"/changes?position={position}&wait=14"
    waiting = [asyncio.create_task(asked.get(path, Policy_Node=name)) for name in ("mx-1", "mx-2")]
    began = time.monotonic()
    async with drilling(asked, db, nodes="{mx-1}"):
        assert (await waiting[0])[0] == 503
        assert time.monotonic() < began + 10  # and not when its time was over
        assert (await waiting[1])[0] == 200


async def test_every_replica_keeps_to_a_drill_and_says_so(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with serving(make_config(dsn)) as first, serving(make_config(dsn)) as second:
        for service in (first, second):
            await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        async with drilling(first, db), drilling(second, db):
            for service in (first, second):
                assert await status(service, KNOWN) == 503
                async with service.session.get(service.admin_url + "/metrics") as response:
                    text = await response.text()
                assert "policyd_drills 2.0" in text or "policyd_drills 1.0" in text
                assert 'policyd_drilled_requests_total{kind="listener_domain"} 1.0' in text


async def test_a_replica_that_starts_in_a_drill_keeps_to_it(dsn: str, db: Connection) -> None:
    await make_token(db)
    await db.execute("insert into policy.drill (until) values (clock_timestamp() + interval '1 min')")
    async with serving(make_config(dsn)) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        assert await status(service, KNOWN) == 503


async def test_a_drill_ends_at_its_time_though_the_database_is_gone(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy, serving(make_config(proxy.dsn, lease=0.5, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        assert await status(service, KNOWN) == 404
        await db.execute("insert into policy.drill (until) values (clock_timestamp() + interval '2 s')")
        began = time.monotonic()
        await service.observations.wait_for(lambda seen: isinstance(seen, DrillBegan))
        proxy.cut()
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost))
        assert await status(service, KNOWN) == 503
        await service.observations.wait_for(lambda seen: isinstance(seen, DrillEnded))
        assert 1.5 < time.monotonic() - began < 10
        code, _, headers = await service.get(KNOWN)
        assert (code, headers["Policy-Stale"]) == (404, "true")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"until": "now() + interval '61 min'"}, "a_drill_lasts_at_most_an_hour"),
        ({"until": "now() - interval '1 s'"}, "a_drill_lasts_at_most_an_hour"),
        (
            {"until": "now() + interval '3 h'", "started_at": "now() + interval '2 h'"},
            "a_drill_lasts_at_most_an_hour",
        ),
        ({"kinds": "'{mail}'"}, "kinds_are_null_for_everything_or_some_that_nodes_ask_for"),
        ({"kinds": "'{}'"}, "kinds_are_null_for_everything_or_some_that_nodes_ask_for"),
        ({"nodes": "'{a b}'"}, "nodes_are_null_for_everybody_or_names"),
        ({"nodes": "'{null}'"}, "nodes_are_null_for_everybody_or_names"),
    ],
)
async def test_a_drill_that_cannot_be_meant_is_refused(
    db: Connection, row: dict[str, str], rule: str
) -> None:
    given: dict[str, Any] = {"until": "now() + interval '1 min'"} | row
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await db.execute(
            f"insert into policy.drill ({', '.join(given)}) values ({', '.join(given.values())})"
        )
    assert caught.value.constraint_name == rule


async def test_a_drill_says_who_began_it_and_clears_away_those_that_are_over(db: Connection) -> None:
    await db.execute("select set_config('policy.actor', 'olga', false)")
    await db.execute("insert into policy.drill (until) values (clock_timestamp() + interval '10 ms')")
    await db.execute("select pg_sleep(0.02)")
    await db.execute(
        "insert into policy.drill (until, actor, login) values (now() + interval '1 min', 'boris', 'nobody')"
    )
    rows = await db.fetch(
        "select actor, login = session_user as own, started_at > now() - interval '10 s' as now from policy.drill"
    )
    assert [tuple(row) for row in rows] == [("olga", True, True)]


async def test_only_owners_begin_and_end_drills(db: Connection) -> None:
    begin = "insert into policy.drill (until) values (now() + interval '1 min')"
    for role in ("policyd_editor", "policyd_service", "policyd_reader"):
        await db.execute(f"set role {role}")
        await db.fetch("select * from policy.drill")
        for statement in (begin, "delete from policy.drill"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)
    await db.execute(f"set role policyd_owner; {begin}; delete from policy.drill")
