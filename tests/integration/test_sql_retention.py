"""
policy.prune_some: the log loses its oldest part, a little at a time, and readers from before hear of it.
"""

import asyncpg
import pytest

from policyd.policy.position import Position
from policyd.store.changes import read_changes
from tests.conftest import connection_to
from tests.integration.conftest import head as position_of
from tests.integration.sql_log import head

PRUNE = "select revision, rows from policy.prune_some('400 days', $1)"


async def grow(db: asyncpg.Connection, *, old: int, new: int) -> int:
    """Revisions of three rows each, of which the first are too old to be kept; the last of those."""
    for number in range(old + new):
        await db.execute(
            "insert into policy.tenant (name) select $1 || n from generate_series(1, 3) as n", f"t{number}-"
        )
    last = await head(db)
    await db.execute(
        "update policy.revision set at = now() - interval '401 days' where number <= $1", last - new
    )
    return last - new


async def test_what_is_too_old_goes_in_batches_and_the_rest_stays(db):
    last = await grow(db, old=3, new=2)
    before = await db.fetchval("select count(*) from policy.change where revision <= $1", last)
    gone = []
    while row := await db.fetchrow(PRUNE, 4):
        assert row["revision"] == last
        gone.append(row["rows"])
        if row["rows"] < 4:
            break
    assert (sum(gone), max(gone)) == (before, 4)
    assert await db.fetchval("select min(revision) from policy.change") == last + 1
    assert await db.fetchval("select count(*) from policy.revision") == last + 3
    assert tuple(await db.fetchrow(PRUNE, 4)) == (last, 0)


async def test_a_reader_from_before_is_told_floors_as_soon_as_the_first_batch_is_gone(db):
    early = Position.parse(await position_of(db))
    last = await grow(db, old=2, new=1)
    assert (await read_changes(db, early, most_tags=100)).news.floors == {}
    await db.fetchrow(PRUNE, 1)
    news = (await read_changes(db, early, most_tags=100)).news
    assert (news.reset, news.tags, news.floors["tenant"]) == (False, {}, await head(db))
    stamp = await db.fetchval("select stamp from policy.revision where number = $1", last)
    assert len((await read_changes(db, Position(last, stamp), most_tags=100)).news.tags) == 3


async def test_only_one_prunes_at_a_time(db, dsn):
    await grow(db, old=1, new=1)
    async with connection_to(dsn) as other, other.transaction():
        assert await other.fetchrow(PRUNE, 10) is not None
        assert await db.fetchrow(PRUNE, 10) is None
    assert await db.fetchrow(PRUNE, 10) is not None


async def test_nothing_is_pruned_within_a_day(db):
    for keep in ("23 hours", "-1 day", None):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="changes are kept for a day at least"):
            await db.fetchrow("select * from policy.prune_some($1::text::interval, 10)", keep)


async def test_who_serves_and_who_owns_may_prune_and_nobody_else(db):
    for role, may in (("owner", True), ("service", True), ("editor", False), ("reader", False)):
        assert await db.fetchval("select has_function_privilege($1, 'policy.prune_some(interval, integer)', 'execute')", f"policyd_{role}") == may  # fmt: skip
