"""Several services on one port, restarted one after the other under load: what fails once does not fail twice."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.integration.conftest import head, make_token
from tests.integration.processes import Process, process
from tests.integration.wire import BEARER, Wire, wire

ROWS = "insert into policy.listener_domain (domain, relay_to) select 'd' || n || '.example', true from generate_series(1, 50) n"


@pytest.fixture
def port() -> Iterator[int]:
    """A port that several processes may share, and that nobody else is given meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def sharing(dsn: str, port: int) -> contextlib.AbstractAsyncContextManager[Process]:
    return process(dsn, f"lookup.listen=127.0.0.1:{port}", "lookup.reuse_port=true")


async def is_open(service: Process) -> None:
    assert (await service.says("started"))["current"] is True


@dataclass(slots=True)
class Load:
    """Clients that ask without end, and do once more what failed."""

    port: int
    answered: int = 0
    failed_once: int = 0
    failed_twice: list[str] = field(default_factory=list)
    closed_politely: int = 0

    async def run(self, connections: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(connections):
                group.create_task(self._ask(number))
            group.create_task(self._poll())

    async def _ask(self, number: int) -> None:
        connection: Wire | None = None
        async with contextlib.AsyncExitStack() as stack:
            while True:
                number += 1
                path = f"/listener-domain/d{number % 50 + 1}.example"
                try:
                    connection = await self._once(stack, connection, path)
                except (OSError, EOFError, AssertionError):
                    self.failed_once += 1
                    try:
                        connection = await self._once(stack, None, path)
                    except (OSError, EOFError, AssertionError) as error:
                        self.failed_twice.append(repr(error))
                        connection = None
                self.answered += 1
                await asyncio.sleep(0.002)

    async def _once(
        self, stack: contextlib.AsyncExitStack, connection: Wire | None, path: str
    ) -> Wire | None:
        if connection is None:
            connection = await stack.enter_async_context(wire(f"http://127.0.0.1:{self.port}"))
        reply = await connection.get(path)
        assert reply.status == 200, reply
        if reply.headers.get("connection") != "close":
            return connection
        self.closed_politely += 1
        assert await connection.is_closed()
        return None

    async def _poll(self) -> None:
        position = ""
        while True:
            with contextlib.suppress(OSError, EOFError):
                async with wire(f"http://127.0.0.1:{self.port}") as connection:
                    reply = await connection.get(f"/changes?wait=10{position}")
                    assert reply.status == 200, reply
                    position = f"&position={reply.json['position']}"


async def test_in_a_rolling_restart_under_load_no_lookup_fails_after_one_retry(dsn, db, port):
    await make_token(db)
    await db.execute(ROWS)
    load = Load(port)
    async with contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(sharing(dsn, port)) for _ in range(2)]
        for service in running:
            await is_open(service)
        asking = asyncio.create_task(load.run(16))
        for old in running:
            answered = load.answered
            while load.answered < answered + 200:  # noqa: ASYNC110  (a count has no event)
                await asyncio.sleep(0.01)
            old.send(signal.SIGTERM)
            assert await old.ended() == 0
            assert [line for line in old.lines if line.get("level") in ("warning", "error")] == []
            await is_open(await stack.enter_async_context(sharing(dsn, port)))
        asking.cancel()
        await asyncio.wait([asking])
    assert load.failed_twice == []
    assert load.closed_politely >= 2


async def test_who_is_told_to_end_is_not_ready_first_and_says_goodbye_to_everyone_and_hurries_when_told_again(
    dsn, db
):
    await make_token(db)
    position = await head(db)
    async with process(dsn, "lookup.drain=60s") as service:
        url, admin = await service.url(), await service.url("admin")
        async with wire(url) as kept, wire(url) as waiting, wire(admin) as health:
            assert (await kept.get("/queue-settings")).status == 200
            await waiting.send(f"GET /changes?wait=50&position={position} HTTP/1.1", "Host: x", BEARER)
            assert (await health.get("/readyz")).status == 200
            service.send(signal.SIGTERM)
            await service.says("stopping")
            assert (await health.get("/readyz")).status == 503
            goodbye = await waiting.reply()
            assert (goodbye.status, goodbye.json["position"]) == (200, position)
            async with wire(url) as new:
                for connection in (kept, new):
                    reply = await connection.get("/queue-settings")
                    assert (reply.status, reply.headers["connection"]) == (200, "close")
                    assert await connection.is_closed()
            async with wire(url) as idle:
                service.send(signal.SIGTERM)
                assert await idle.is_closed()
                assert await service.ended() == 0


async def test_an_idle_connection_keeps_nobody_from_ending(dsn, db):
    await make_token(db)
    async with process(dsn) as service, wire(await service.url()) as idle:
        assert (await idle.get("/queue-settings")).status == 200
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
        assert await idle.is_closed()
