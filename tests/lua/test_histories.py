"""A node whose service's database was replaced by an older copy, as a restore and some failovers do."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import head, make_config, make_token, serving
from tests.integration.databases import Replaceable
from tests.lua.faults import Endpoint, endpoint_before
from tests.lua.kumo_sim.node import Node
from tests.lua.sites import ASK, ROWS, Site, ask, policy

POOL = "update policy.tenant set egress_pool = '{}' where name = 'acme'"


@dataclass(frozen=True, slots=True)
class Split:
    """A node that follows a restored database, and a replica that has not heard of that: it is asked first."""

    node: Node
    site: Site
    replica: Endpoint
    restored: Connection


@pytest.fixture
async def split(kumod, postgres, dsn, token_file, tmp_path) -> AsyncIterator[Split]:
    database = Replaceable(postgres, dsn)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.drop_others)
        async with database.connection() as db:
            await make_token(db)
            await db.execute(ROWS)
        copy = postgres.dsn(await database.copy())
        db = await stack.enter_async_context(database.connection())
        await db.execute(POOL.format("shared"))
        restored = await stack.enter_async_context(connection_to(copy))
        behind = await stack.enter_async_context(serving(make_config(dsn)))
        ahead = await stack.enter_async_context(serving(make_config(copy)))
        replica = await stack.enter_async_context(endpoint_before(behind.url))
        other = await stack.enter_async_context(endpoint_before(ahead.url))
        site = Site(kumod, replica, db, token_file, tmp_path / "store.db")
        node = await kumod(policy([replica.url, other.url], token_file, site.store, ASK))
        await site.caught_up(node)
        await replica.be("refused")
        site.db = restored
        await site.caught_up(node)
        await replica.be("through")
        yield Split(node, site, replica, restored)


async def test_a_replica_that_has_not_heard_of_a_restore_is_no_answer(split):
    split.replica.requests.clear()
    await split.node.advance(10)
    assert (await ask(split.node, "tenant", "acme"))["answer"]["egress_pool"] == "gold"
    assert split.replica.requests, "it was asked"
    assert split.site.position() == await head(split.restored)


async def test_a_database_that_takes_its_place_again_is_followed(split):
    position = split.site.position()
    await split.node.until(lambda: split.site.position() != position, within=60)
    assert (await ask(split.node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"
