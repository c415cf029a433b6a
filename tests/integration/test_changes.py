"""What a node hears of changes, and the name index that it keeps by them."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from policyd.api import answering
from policyd.observe.events import ChangesRead, CurrencyRegained
from policyd.policy.position import Position
from policyd.policy.validity import News
from policyd.store.changes import read_changes
from policyd.store.documents import KINDS
from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, head, make_config, make_token, serving
from tests.integration.proxy import proxying

INSERT = "insert into policy.listener_domain (domain, relay_to) values ($1, true)"


async def news(service: Service, position: str, wait: float = 0) -> dict[str, Any]:
    status, body, headers = await service.get(f"/changes?position={position}&wait={wait:g}")
    assert status == 200, body
    assert headers["Policy-Position"] == body["position"]
    return dict(body)


def number(position: str) -> int:
    return int(position.partition("-")[0])


async def test_without_a_position_or_with_one_that_is_in_no_log_there_is_only_a_reset(
    service: Service, db: Connection
) -> None:
    here = await head(db)
    reset = {"position": here, "tags": {}, "floors": {}, "reset": True}
    assert (await service.get("/changes"))[1] == reset
    for position in (f"{number(here)}-00000000", f"{number(here) + 5}-00000000", "0-00000000"):
        assert await news(service, position, wait=5) == reset


async def test_who_waits_hears_of_a_change_when_it_is_committed(service: Service, db: Connection) -> None:
    before = await head(db)
    await service.reach(before)
    waiting = [asyncio.create_task(news(service, before, wait=14)) for _ in range(20)]
    assert not (await asyncio.wait(waiting, timeout=0.2))[0]
    began = time.monotonic()
    async with db.transaction():
        await db.execute(INSERT, "example.com")
        await db.execute("insert into policy.tenant (name) values ('acme')")
    heard = await asyncio.gather(*waiting)
    assert time.monotonic() < began + 2
    after = await head(db)
    tags = {tag: [number(after), True] for tag in ("listener_domain/*/example.com", "tenant/acme")}
    assert heard == [{"position": after, "tags": tags, "floors": {}, "reset": False}] * 20


async def test_when_nothing_happens_the_wait_ends_with_the_same_position(
    service: Service, db: Connection
) -> None:
    here = await head(db)
    await service.reach(here)
    began = time.monotonic()
    assert await news(service, here, wait=0.3) == {"position": here, "tags": {}, "floors": {}, "reset": False}
    assert time.monotonic() >= began + 0.3


async def test_each_tag_says_whether_its_document_is_there_now(service: Service, db: Connection) -> None:
    before = await head(db)
    await db.execute("insert into policy.tenant (name) values ('stays'), ('goes'), ('old')")
    await db.execute("insert into policy.tenant_campaign (tenant, campaign) values ('goes', 'c')")
    await db.execute("delete from policy.tenant where name = 'goes'")
    await db.execute("update policy.tenant set name = 'new' where name = 'old'")
    await db.execute("update policy.queue_settings set on_missing = 'stock'")
    await service.reach(await head(db))
    tags = (await news(service, before))["tags"]
    assert {tag: exists for tag, (_, exists) in tags.items()} == {
        "tenant/stays": True,
        "tenant/goes": False,
        "tenant/old": False,
        "tenant/new": True,
        "queue_settings": True,
    }


async def test_a_replica_that_started_later_reads_the_log_for_who_was_there_before(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    before = await head(db)
    for domain in ("a.example", "b.example"):
        await db.execute(INSERT, domain)
    async with serving(make_config(dsn)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        heard = await news(service, before)
        assert set(heard["tags"]) == {"listener_domain/*/a.example", "listener_domain/*/b.example"}
        await db.execute("select policy.prune($1)", number(before) + 1)
        assert (await service.get("/queue-settings", Policy_Position=before))[0] == 200
        other_stamp = f"{number(before)}-00000000"
        assert (await service.get("/queue-settings", Policy_Position=other_stamp))[0] == 409
        pruned = await news(service, before)
        assert pruned == {
            "position": await head(db),
            "tags": {},
            "floors": dict.fromkeys(KINDS, number(await head(db))),
            "reset": False,
        }


async def test_a_replica_whose_own_place_in_the_log_was_pruned_reads_everything_anew(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    await db.execute(INSERT, "gone.example")
    async with proxying(dsn) as proxy, serving(make_config(proxy.dsn, lease=1, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        before = await head(db)
        assert (await service.get("/listener-domain/gone.example"))[0] == 200
        assert (await service.get("/listener-domain/new.example"))[0] == 404
        proxy.fall_silent()
        await db.execute("delete from policy.listener_domain")
        await db.execute(INSERT, "new.example")
        await db.execute("select policy.prune((select number from policy.counter))")
        proxy.heal()
        here = await head(db)
        seen = await service.observations.wait_for(
            lambda seen: isinstance(seen, ChangesRead) and str(seen.position) == here
        )
        assert isinstance(seen, ChangesRead)
        assert seen.floors == len(KINDS)
        assert (await service.get("/listener-domain/gone.example"))[0] == 404
        assert (await service.get("/listener-domain/new.example"))[0] == 200
        assert set((await news(service, before))["floors"]) == set(KINDS)


async def test_a_bulk_change_is_told_as_a_floor_of_its_kind_alone(service: Service, db: Connection) -> None:
    before = await head(db)
    assert (await service.get("/listener-domain/d1.example"))[0] == 404
    async with db.transaction():
        await db.execute(
            "insert into policy.listener_domain (domain, relay_to)"
            " select 'd' || n || '.example', true from generate_series(1, 5001) n"
        )
        await db.execute("insert into policy.tenant (name) values ('acme')")
    here = await head(db)
    await service.reach(here)
    heard = await news(service, before)
    assert heard == {
        "position": here,
        "tags": {"tenant/acme": [number(here), True]},
        "floors": {"listener_domain": number(here)},
        "reset": False,
    }
    assert (await service.get("/listener-domain/d1.example"))[0] == 200
    assert (await service.get(f"/changes?position={here}"))[1]["floors"] == {}


async def test_pages_of_names_and_the_changes_since_the_first_make_the_index(
    service: Service, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MOST_NAMES", 2)
    for name in ("b", "d", "f", "h/x"):
        await db.execute("insert into policy.tenant (name) values ($1)", name)
    _, page, headers = await service.get("/names/tenant")
    first = page["position"]
    assert (first, headers["Policy-Position"]) == (await head(db), first)
    assert page["names"] == ["tenant/b", "tenant/d"]
    index = set(page["names"])
    await db.execute("delete from policy.tenant where name in ('b', 'f')")
    await db.execute("insert into policy.tenant (name) values ('a'), ('e')")
    while "next" in page:
        _, page, _ = await service.get(f"/names/tenant?after={page['next']}")
        index |= set(page["names"])
    assert page["position"] == await head(db)
    assert index == {"tenant/b", "tenant/d", "tenant/e", "tenant/h%2Fx"}
    for tag, (_, exists) in (await news(service, first))["tags"].items():
        (index.add if exists else index.discard)(tag)
    assert index == {"tenant/a", "tenant/d", "tenant/e", "tenant/h%2Fx"}


async def test_a_page_of_names_is_never_ahead_of_the_replica_that_sends_it(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy, serving(make_config(proxy.dsn, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        assert (await service.get("/names/tenant"))[0] == 200
        proxy.fall_silent("change feed")
        await db.execute("insert into policy.tenant (name) values ('acme')")
        assert (await service.get("/names/tenant"))[0] == 503
        assert (await service.get("/names/tenant", Policy_Position="0-00000000"))[0] == 409
        proxy.heal()
        async with asyncio.timeout(5):
            while (await service.get("/names/tenant"))[0] != 200:
                pass
        assert (await service.get("/names/tenant"))[1]["names"] == ["tenant/acme"]


@dataclass(frozen=True, slots=True)
class _Two:
    one: Service
    other: Service

    async def statuses(self, path: str, **headers: str) -> set[int]:
        answers = await asyncio.gather(self.one.get(path, **headers), self.other.get(path, **headers))
        return {status for status, _, _ in answers}


async def test_two_services_on_one_database_both_answer_with_a_change(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with serving(make_config(dsn)) as one, serving(make_config(dsn)) as other:
        both = _Two(one, other)
        for service in (one, other):
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        for domain in ("a.example", "b.example", "c.example"):
            path = f"/listener-domain/{domain}"
            assert await both.statuses(path) == {404}
            await db.execute(INSERT, domain)
            assert await both.statuses(path, Policy_Position=await head(db)) == {200}
            await db.execute("delete from policy.listener_domain where domain = $1", domain)
            async with asyncio.timeout(0.5):
                while await both.statuses(path) != {404}:
                    pass


async def test_a_token_is_worth_what_its_row_says_at_once(service: Service, db: Connection) -> None:
    token = "second.0123456789abcdefghij"
    await make_token(db, token)

    async def status() -> int:
        await service.reach(await head(db))
        return (await service.get("/queue-settings", Authorization=f"Bearer {token}"))[0]

    assert await status() == 200
    await db.execute("update policy.api_token set scopes = '{status}' where name = 'second'")
    assert await status() == 403
    await db.execute(
        "update policy.api_token set scopes = '{lookup}', networks = '{192.0.2.0/24}' where name = 'second'"
    )
    assert await status() == 403
    await db.execute("update policy.api_token set networks = null where name = 'second'")
    assert await status() == 200
    await db.execute("update policy.api_token set sha256 = repeat('0', 64) where name = 'second'")
    assert await status() == 401
    await db.execute("delete from policy.api_token where name = 'second'")
    assert await status() == 401
    assert (await service.get("/queue-settings", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_more_rows_than_can_be_read_in_time_are_told_as_floors_of_all_kinds(db: Connection) -> None:
    since = Position.parse(await head(db))
    await db.execute("insert into policy.tenant (name) values ('a'), ('b'), ('c')")
    here = Position.parse(await head(db))
    told = await read_changes(db, since, most_tags=100, most_rows=3)
    assert (told.news.head, set(told.news.tags), told.news.floors) == (
        here,
        {"tenant/a", "tenant/b", "tenant/c"},
        {},
    )
    untold = await read_changes(db, since, most_tags=100, most_rows=2)
    assert untold.news == News(head=here, floors=dict.fromkeys(KINDS, here.number))
