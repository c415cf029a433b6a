"""A row changed is what the next lookup answers with."""

import asyncio

from policyd.store.pool import Connection
from tests.integration.conftest import Service, head


async def test_a_committed_row_is_answered_by_the_next_lookup_that_carries_its_position(
    service: Service, db: Connection
) -> None:
    status, body, _ = await service.get("/listener-domain/example.com")
    assert (status, body) == (
        404,
        {"tags": ["listener_domain/*/example.com", "listener_domain/*/*.com", "listener_domain/*/*"]},
    )
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('example.com', true)")
    position = await head(db)
    status, body, headers = await service.get("/listener-domain/example.com", Policy_Position=position)
    assert (status, body["answer"]) == (200, {"relay_to": True})
    assert headers["Policy-Position"] == position


async def test_a_committed_row_is_answered_soon_without_a_position(service: Service, db: Connection) -> None:
    await service.get("/listener-domain/example.com")
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('example.com', true)")
    async with asyncio.timeout(0.5):
        while (await service.get("/listener-domain/example.com"))[0] != 200:
            pass


async def test_a_pool_brings_its_sources_answers_under_their_own_paths(
    service: Service, db: Connection
) -> None:
    await db.execute("insert into policy.egress_source (name, source_address) values ('ip-1', '192.0.2.1')")
    await db.execute("insert into policy.egress_pool (name) values ('bulk')")
    await db.execute("insert into policy.egress_pool_entry (pool, source, weight) values ('bulk', 'ip-1', 3)")
    _, body, _ = await service.get("/egress-pool/bulk", Policy_Position=await head(db))
    assert body["answer"] == {"name": "bulk", "entries": [{"name": "ip-1", "weight": 3}]}
    alone = (await service.get("/egress-source/ip-1"))[1]
    assert body["with"] == {"/egress-source/ip-1": alone}
