"""The service prunes the change log as history.keep says, and says so."""

from dataclasses import replace

from policyd.config import HistoryConfig
from policyd.observe.events import HistoryPruned
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import make_config, make_token, serving
from tests.integration.sql_log import head


async def test_what_is_older_than_it_is_to_be_kept_is_pruned_told_and_counted(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    for batch in ("a", "b"):
        await db.execute(
            "insert into policy.tenant (name) select $1 || n from generate_series(1, 2500) as n", batch
        )
    last = await head(db)
    await db.execute("update policy.revision set at = now() - interval '401 days' where number < $1", last)
    before = await db.fetchval("select count(*) from policy.change where revision < $1", last)
    config = replace(make_config(dsn), history=HistoryConfig(keep=Seconds(400 * 86_400)))
    async with serving(config) as service:
        seen = await service.observations.wait_for(lambda seen: isinstance(seen, HistoryPruned))
        assert seen == HistoryPruned(revision=last - 1, rows=before)
        async with service.session.get(service.admin_url + "/metrics") as response:
            assert f"policyd_history_pruned_rows_total {float(before)}" in await response.text()
    assert await db.fetchval("select count(*) from policy.change") == 2500


async def test_by_default_nothing_is_ever_pruned(dsn: str, db: Connection, service: object) -> None:
    assert make_config(dsn).history.keep is None
    await db.execute("insert into policy.tenant (name) values ('a')")
    assert await db.fetchval("select pruned_to from policy.log_window") == 0
