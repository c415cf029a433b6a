"""
Revisions to take back, and what policy.revert says of them.
"""

import asyncio

import asyncpg
import pytest

from policyd.store.pool import Connection
from tests.integration.sql_log import head

SITE = """
insert into policy.egress_source (name, source_address) values ('ip-1', '192.0.2.1'), ('ip-2', '192.0.2.2');
insert into policy.egress_pool (name) values ('bulk'), ('vip');
insert into policy.egress_pool_entry (pool, source, weight) values ('bulk', 'ip-1', 2), ('vip', 'ip-2', null);
insert into policy.tenant (name, egress_pool) values ('acme', 'bulk');
insert into policy.tenant_campaign (tenant, campaign) values ('acme', 'spring');
insert into policy.queue (domain, egress_pool) values ('gmail.com', 'bulk');
insert into policy.queue_tenant (domain, tenant, options) values ('gmail.com', 'acme', '{"max_age": "1h"}');
insert into policy.queue_campaign (domain, tenant, campaign) values ('gmail.com', 'acme', 'spring');
"""


async def done(db: Connection, *statements: str) -> int:
    """The revision that the statements make together."""
    async with db.transaction():
        for statement in statements:
            await db.execute(statement)
    return await head(db)


async def rows(db: Connection, *tables: str) -> list[str]:
    return [
        f"{table}: {row[0]}"
        for table in tables
        or ("egress_pool", "egress_pool_entry", "tenant", "tenant_campaign", "queue_tenant")
        for row in await db.fetch(f"select t::text from policy.{table} t order by 1")
    ]


async def refused(db: Connection, revision: int, last: int | None = None) -> list[str]:
    """What stands in the way, line by line."""
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError) as caught:
        await db.fetchval("select policy.revert($1, $2)", revision, last)
    assert "force => true" in (caught.value.hint or "")
    return (caught.value.detail or "").split("\n")


async def forced(db: Connection, revision: int, last: int | None = None) -> tuple[int | None, list[str]]:
    heard: list[str] = []
    listener = lambda _, message: heard.append(message.message)  # noqa: E731
    db.add_log_listener(listener)
    taken = await db.fetchval("select policy.revert($1, $2, force => true)", revision, last)
    await asyncio.sleep(0)
    db.remove_log_listener(listener)
    return taken, heard
