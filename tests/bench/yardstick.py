"""
What policyd is compared with: `python -m tests.bench.yardstick CORE bare|fixed BYTES`.

`bare` is an aiohttp application with one route and a constant answer, without tokens, metrics or look-ups. `fixed`
answers the same bytes to whatever arrives, with no HTTP at all: what the client reaches with it is the client's limit.
"""

import asyncio
import gc
import json
import sys
from typing import cast

import uvloop
from aiohttp import web

from tests.bench.machine import pin
from tests.bench.questions import answer_questions


async def _bare(body: bytes) -> int:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/listener-domain/{domain}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


class _Fixed(asyncio.Protocol):
    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are transports by what they do, not by their class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(self._wire)


async def _fixed(body: bytes) -> int:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    listening = await asyncio.get_running_loop().create_server(lambda: _Fixed(wire), "127.0.0.1", 0)
    return int(listening.sockets[0].getsockname()[1])


async def _serve(kind: str, size: int) -> None:
    body = b"{}".ljust(size)
    port = await (_bare(body) if kind == "bare" else _fixed(body))
    gc.collect()
    gc.freeze()
    print(json.dumps({"port": port}), flush=True)
    await answer_questions({})


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    uvloop.run(_serve(sys.argv[2], int(sys.argv[3])))
