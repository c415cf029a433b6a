"""Connections: only so many, none that says nothing, and no end to it when the system has no more files."""

import asyncio
import contextlib
import resource
from pathlib import Path

from policyd.api.server import SURPLUS
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import make_token
from tests.integration.outage import changed, lookup
from tests.integration.processes import process
from tests.integration.wire import Wire, assert_problem, wire


async def test_who_is_one_connection_too_many_is_told_so_and_the_others_go_on(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with changed(dsn, lambda config: lookup(config, max_connections=16)) as watched:
        async with contextlib.AsyncExitStack() as stack:
            kept: list[Wire] = [await stack.enter_async_context(wire(watched.service.url)) for _ in range(16)]
            assert {(await each.get("/queue-settings")).status for each in kept} == {200}
            async with wire(watched.service.url) as surplus:
                reply = await surplus.get("/queue-settings")
                assert_problem(reply, 503, "overloaded")
                assert (reply.headers["retry-after"], reply.headers["connection"]) == ("1", "close")
                assert await surplus.is_closed()
            assert {(await each.get("/queue-settings")).status for each in kept} == {200}
            assert await watched.metric("policyd_connections") == 16
            assert await watched.metric("policyd_connections_limit") == 16
        assert await watched.metric("policyd_requests_shed_total", "connections") == 1
        assert watched.lines("more is asked for than can be done; some are told to come again")
        async with asyncio.timeout(5):
            while await watched.metric("policyd_connections"):
                pass
        async with wire(watched.service.url) as connection:
            assert (await connection.get("/queue-settings")).status == 200


async def test_a_connection_that_brings_no_whole_request_in_time_is_closed(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with (
        changed(dsn, lambda config: lookup(config, head_deadline=Seconds(0.3))) as watched,
        wire(watched.service.url) as silent,
        wire(watched.service.url) as slow,
        wire(watched.service.url) as kept,
    ):
        assert (await kept.get("/queue-settings")).status == 200
        slow.writer.write(b"GET /queue-settings HTTP/1.1\r\nHost: policyd\r\nX-Slow: ")
        assert await silent.is_closed()
        assert await slow.is_closed()
        assert (await kept.get("/queue-settings")).status == 200


async def test_a_process_that_may_open_no_more_files_goes_on_and_takes_connections_again_afterwards(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with process(dsn) as service:
        url = await service.url()
        async with wire(url) as kept:
            assert (await kept.get("/queue-settings")).status == 200
            _, hard = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(
                service.pid,
                resource.RLIMIT_NOFILE,
                (len(list(Path(f"/proc/{service.pid}/fd").iterdir())), hard),
            )
            for _ in range(20):
                with contextlib.suppress(OSError, EOFError, AssertionError, TimeoutError):
                    async with wire(url) as refused, asyncio.timeout(0.05):
                        await refused.get("/queue-settings")
                assert (await kept.get("/queue-settings")).status == 200
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (hard, hard))
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(OSError, EOFError):
                        async with wire(url) as again:
                            assert (await again.get("/queue-settings")).status == 200
                            break


async def test_the_limit_of_open_files_is_raised_and_known(dsn: str, db: Connection) -> None:
    await make_token(db)
    limited = ("sh", "-c", 'ulimit -S -n 64; ulimit -H -n 400; exec "$@"', "sh")
    async with process(dsn, before=limited) as service:
        assert (await service.says("started"))["connections"] == 200


async def test_far_too_many_connections_are_dropped_and_nobody_else_notices(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with (
        changed(dsn, lambda config: lookup(config, max_connections=16)) as watched,
        contextlib.AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(wire(watched.service.url))
        assert (await first.get("/queue-settings")).status == 200
        for _ in range(15 + SURPLUS):
            await stack.enter_async_context(wire(watched.service.url))
        async with asyncio.timeout(10):
            while await watched.metric("policyd_connections") < 16 + SURPLUS:
                pass
        for _ in range(5):
            with contextlib.suppress(ConnectionError):
                async with wire(watched.service.url) as dropped:
                    assert await dropped.is_closed()
        assert (await first.get("/queue-settings")).status == 200
        assert await watched.metric("policyd_requests_shed_total", "connections") == 5
