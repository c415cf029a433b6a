"""What docs/postgresql.md types to put a restored database in the place of one that replicas are connected to."""

import re

import asyncpg
import pytest

from tests.conftest import Postgres, connection_to
from tests.docs.pages import ROOT, blocks, typed


@pytest.fixture
def statements() -> list[str]:
    """The SQL of the page that renames databases."""
    for block in blocks(ROOT / "docs/postgresql.md", "console"):
        for _, command in typed(block):
            if "rename to policyd_broken" in command:
                return [one or two for one, two in re.findall(r"-c (?:'([^']*)'|\"([^\"]*)\")", command)]
    raise AssertionError("the page does not say how")


async def test_a_restored_database_takes_the_place_of_one_that_is_in_use(postgres: Postgres, statements):
    served = await postgres.clone()
    restored = await postgres.clone()
    names = {"policyd_restored": restored, "policyd_broken": f"{served}_broken", "policyd": served}
    try:
        async with connection_to(postgres.dsn(served)) as replica, postgres.administrator() as administrator:
            for statement in statements:
                named = re.sub(r"\bpolicyd(?:_restored|_broken)?\b", lambda found: names[found[0]], statement)
                await administrator.execute(named)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await replica.fetchval("select 1")
        async with connection_to(postgres.dsn(served)) as connection:
            assert await connection.fetchval("select count(*) from policy.revision") is not None
    finally:
        for name in names.values():
            await postgres.drop(name)
