"""An endpoint for webhooks."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.kumod.process import PATIENCE


@dataclass(slots=True)
class Receiver:
    """An endpoint for webhooks: what it was sent, and what it says to that."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        self._came.set()
        return web.Response(status=self.status, text="said")

    def records(self) -> list[dict[str, Any]]:
        found = []
        for _, body in self.requests:
            read = json.loads(body)
            found += read if isinstance(read, list) else [read]
        return found

    async def record(self, **fields: Any) -> dict[str, Any]:
        """The first record that holds *fields*; waits for it."""
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                for record in self.records():
                    if fields.items() <= record.items():
                        return record
                self._came.clear()
                await self._came.wait()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    receiving = Receiver()
    runner = web.ServerRunner(web.Server(receiving))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    assert runner.addresses
    receiving.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiving
    await runner.cleanup()


def webhook(receiver: Receiver, name: str = "all", **columns: str) -> str:
    values = {
        "name": f"'{name}'",
        "url": f"'{receiver.url}'",
        "insecure": "true",
        "events": "'{Reception,Delivery}'",
        "max_batch_latency": "'50ms'",
        **columns,
    }
    return f"insert into policy.webhook ({', '.join(values)}) values ({', '.join(values.values())});"
