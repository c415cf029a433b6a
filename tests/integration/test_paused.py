"""A service that does not run for a while, like a machine that is suspended: what it slept through it vouches for to nobody."""

import asyncio
import signal
import time
from dataclasses import replace

from policyd.live import feed
from policyd.units import Seconds
from tests.integration.conftest import make_token
from tests.integration.outage import KNOWN, ROWS, changed
from tests.integration.processes import process
from tests.integration.wire import BEARER, wire

LEASE = 0.5


async def test_who_was_stopped_for_longer_than_the_lease_vouches_for_nothing_that_changed_meanwhile(dsn, db):
    await make_token(db)
    await db.execute(ROWS)
    async with (
        process(dsn, f"feed.lease={LEASE}", "feed.poll=0.1") as service,
        wire(await service.url()) as connection,
    ):
        assert (await connection.get(KNOWN)).status == 200
        service.send(signal.SIGSTOP)
        await db.execute("delete from policy.listener_domain")
        await connection.send(f"GET {KNOWN} HTTP/1.1", "Host: policyd", BEARER)
        await asyncio.sleep(2 * LEASE)
        service.send(signal.SIGCONT)
        reply = await connection.reply()
        assert reply.status in (404, 503) or reply.headers["policy-stale"] == "true"
        await service.says("current")


async def test_a_machine_that_slept_counts_the_time_that_passed(dsn, db, monkeypatch):
    await make_token(db)
    slept = 0.0

    class Clock:
        """Time as it is, but that the machine may have slept."""

        def __getattr__(self, name: str) -> object:
            return getattr(time, name)

        def clock_gettime(self, clock: int) -> float:
            assert clock == time.CLOCK_BOOTTIME
            return time.clock_gettime(clock) + slept

    monkeypatch.setattr(feed, "time", Clock())
    async with changed(
        dsn, lambda config: replace(config, feed=replace(config.feed, poll=Seconds(60)))
    ) as watched:
        assert (await watched.service.get(KNOWN))[0] == 404
        slept = 3600.0
        _, _, headers = await watched.service.get(KNOWN)
        assert int(headers["Age"]) >= 3600
