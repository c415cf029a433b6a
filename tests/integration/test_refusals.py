"""What PostgreSQL refuses is told without quoting the row."""

import pytest

from policyd.errors import Conflict
from policyd.store.pool import Connection, translated

CANARY = "canary-8c1f5f2e"


async def test_a_refused_row_is_not_quoted_in_the_error(db: Connection) -> None:
    with pytest.raises(Conflict) as refused, translated():
        await db.execute(
            "insert into policy.egress_source (name, socks5_proxy_password) values ('', $1::jsonb)",
            f'"{CANARY}"',
        )
    assert CANARY not in str(refused.value)


async def test_a_taken_name_is_told(db: Connection) -> None:
    await db.execute("insert into policy.egress_pool (name) values ('bulk')")
    with pytest.raises(Conflict, match=r"Key \(name\)=\(bulk\)"), translated():
        await db.execute("insert into policy.egress_pool (name) values ('bulk')")
