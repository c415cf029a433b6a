"""More is asked for than can be done: some are told so at once and come again, and nobody else waits for them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from policyd.config import Config
from policyd.observe.events import BackendAnswered
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import Service, make_token
from tests.integration.outage import Watched, changed, lookup
from tests.integration.proxy import proxying
from tests.integration.vault.double import VaultDouble
from tests.integration.vault.servers import doubled

KEYS = 200
ROWS = f"insert into policy.listener_domain (domain) select 'd' || n || '.example' from generate_series(0, {KEYS - 1}) n"


def statements(service: Service) -> int:
    return sum(
        isinstance(seen, BackendAnswered) and seen.operation == "documents"
        for seen in service.observations.seen
    )


async def test_a_stampede_of_ten_nodes_on_cold_keys_is_a_few_statements(dsn: str, db: Connection) -> None:
    tokens = [f"node{number}.0123456789abcdefghij" for number in range(10)]
    for token in tokens:
        await make_token(db, token, ("lookup",))
    await db.execute(ROWS)
    async with changed(dsn) as watched:
        asked = [
            watched.service.post("/batch", paths(KEYS), Authorization=f"Bearer {token}") for token in tokens
        ]
        for status, answers, _ in await asyncio.gather(*asked):
            assert status == 200
            assert {answer["status"] for answer in answers} == {200}
        # Two thousand lookups: each key was read once for all ten, and many in a statement; as were the tokens.
        assert statements(watched.service) <= 20
        assert await watched.metric("policyd_requests_shed_total", "lookups") == 0


async def test_what_cannot_be_read_in_time_is_told_so_at_once_and_what_can_is_answered(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with (
        proxying(dsn) as proxy,
        changed(proxy.dsn, lambda config: lookup(config, max_pending=40, deadline=Seconds(30))) as watched,
    ):
        await watched.service.get("/queue-settings")
        proxy.fall_silent("lookups")
        waiting = asyncio.ensure_future(watched.service.post("/batch", paths(30)))
        await pending(watched, 30)
        assert_problem_of(*await watched.service.get("/listener-domain/late.example"))
        assert not waiting.done()
        proxy.heal()
        _, answers, _ = await waiting
        assert {answer["status"] for answer in answers} == {404}
        assert await watched.metric("policyd_requests_shed_total", "kind") >= 1
        (line,) = watched.lines("more is asked for than can be done; some are told to come again")
        assert line["bottleneck"] == "kind"


async def test_nobody_joins_a_line_that_would_be_too_long(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with (
        proxying(dsn) as proxy,
        changed(proxy.dsn, lambda config: lookup(config, deadline=Seconds(2))) as watched,
    ):
        await watched.service.get("/queue-settings")
        proxy.fall_silent("lookups")
        waiting = asyncio.ensure_future(watched.service.post("/batch", paths(1_000)))
        await pending(watched, 1_000)
        late: list[asyncio.Future[tuple[int, Any, dict[str, str]]]] = []
        async with asyncio.timeout(10):
            while not late or not late[-1].done():
                late.append(asyncio.ensure_future(watched.service.get(f"/queue/late{len(late)}.example")))
                await asyncio.wait([late[-1]], timeout=0.05)
        assert_problem_of(*late[-1].result())
        assert not waiting.done()
        proxy.heal()
        _, answers, _ = await waiting
        assert {answer["status"] for answer in answers} == {404}
        assert await watched.metric("policyd_requests_shed_total", "line") == 1
        await asyncio.gather(*late)


def paths(count: int) -> list[str]:
    return [f"/listener-domain/d{number}.example" for number in range(count)]


async def pending(watched: Watched, number: int) -> None:
    async with asyncio.timeout(10):
        while await watched.metric("policyd_lookups_pending") < number:
            pass


def assert_problem_of(status: int, body: Any, headers: dict[str, str]) -> None:
    assert (status, body["type"], headers["Retry-After"]) == (503, "urn:policyd:problem:overloaded", "1")


async def hang(_: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def slow_kinds(dsn: str, db: Connection) -> AsyncIterator[tuple[Watched, VaultDouble]]:
    await make_token(db)
    await db.execute("update policy.dkim_settings set selector = 's1'")
    await db.execute("insert into policy.dkim_domain (domain) values ('*.example')")
    async with doubled() as (vault, double):

        def change(config: Config) -> Config:
            keys = {"default": replace(vault.root, timeout=Seconds(5.0))}
            return replace(lookup(config, max_pending=60), keys=keys, vault=vault.config())

        async with changed(dsn, change) as watched:
            yield watched, double


async def test_plans_that_wait_for_vault_leave_room_for_every_other_kind(
    slow_kinds: tuple[Watched, VaultDouble],
) -> None:
    watched, double = slow_kinds
    double.fault = hang
    plans = [asyncio.ensure_future(watched.service.get(f"/dkim/d{number}.example")) for number in range(100)]
    done, _ = await asyncio.wait(plans, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result()[0] for task in done} == {503}
    assert await watched.metric("policyd_requests_shed_total", "kind") > 0
    others = [watched.service.get(f"/listener-domain/d{number}.example") for number in range(10)]
    async with asyncio.timeout(1.5):
        assert {status for status, _, _ in await asyncio.gather(*others)} == {404}
    assert {status for status, _, _ in await asyncio.gather(*plans)} == {503}


async def test_a_flood_of_logins_leaves_room_for_every_other_kind(dsn: str, db: Connection) -> None:
    await make_token(db)

    def change(config: Config) -> Config:
        return replace(config, auth=replace(config.auth, max_waiting=8))

    async with changed(dsn, change) as watched:

        def attempt(number: int) -> Any:
            body = {"username": f"u{number}", "password": "wrong", "peer": f"10.{number}.0.1"}
            return watched.service.post("/smtp-auth", body)

        logins = [asyncio.ensure_future(attempt(number)) for number in range(40)]
        others = [watched.service.get(f"/listener-domain/d{number}.example") for number in range(20)]
        assert {status for status, _, _ in await asyncio.gather(*others)} == {404}
        assert any(not login.done() for login in logins)
        assert {status for status, _, _ in await asyncio.gather(*logins)} == {200, 503}
        assert await watched.metric("policyd_requests_shed_total", "passwords") >= 20


async def test_tokens_that_are_none_cost_one_statement_for_each_name_and_no_more(
    service: Service, db: Connection
) -> None:
    await service.get("/queue-settings")
    before = statements(service)
    for name in ("nobody", "test"):
        for number in range(50):
            bearer = f"Bearer {name}.wrong-secret-{number:010}"
            assert (await service.get("/queue-settings", Authorization=bearer))[0] == 401
    assert statements(service) - before <= 1
    await make_token(db, "nobody.0123456789abcdefghij", ("lookup",))
    async with asyncio.timeout(5):
        while (await service.get("/queue-settings", Authorization="Bearer nobody.0123456789abcdefghij"))[
            0
        ] != 200:
            pass


async def test_a_stranger_who_tries_a_thousand_names_keeps_no_node_waiting(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy, changed(proxy.dsn) as watched:
        proxy.slow_down(0.05)
        guesses = [
            asyncio.ensure_future(
                watched.service.get("/queue-settings", Authorization=f"Bearer n{number}.0123456789abcdefghij")
            )
            for number in range(1_000)
        ]
        assert (await watched.service.get("/queue-settings"))[0] == 200
        statuses = [status for status, _, _ in await asyncio.gather(*guesses)]
        assert set(statuses) == {401, 503}
        assert await watched.metric("policyd_requests_shed_total", "tokens") == statuses.count(503)
