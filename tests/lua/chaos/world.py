"""Two histories of one database, replicas in front of them, two endpoints in front of these, and a node that asks them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from policyd.config import Config
from policyd.units import Seconds
from tests.conftest import Postgres, connection_to
from tests.integration.conftest import TOKEN, Service, make_config, make_token, serving
from tests.integration.databases import Replaceable
from tests.integration.proxy import Proxy, proxying
from tests.lua.chaos.history import History
from tests.lua.chaos.states import ROWS
from tests.lua.faults import Endpoint, endpoint_before
from tests.lua.kumo_sim.node import Node
from tests.lua.sites import ASK, MODULES, policy

# Which changes were known when the answer was given, too.
ASKED = (
    ASK
    + """
kumo.on('asked', function(kind, ...)
  local found = lookup.ask(kinds[kind](...))
  return kumo.json_encode(found), require('policyd.handles').generation:sum()
end)
"""
)
SCOPES = ("lookup", "dkim", "auth", "status")
CURRENT_WITHIN = 20.0


@dataclass(slots=True)
class Replica:
    """A service that can be restarted, behind a network to its database that can fail."""

    history: History
    proxy: Proxy
    config: Config
    service: Service = field(init=False)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def start(self) -> None:
        self.service = await self._stack.enter_async_context(serving(self.config))
        await self.catch_up()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def catch_up(self) -> None:
        """Wait until it knows all that is committed, and vouches for it."""
        async with asyncio.timeout(CURRENT_WITHIN):
            while not await self._is_current():  # noqa: ASYNC110  (it is another one's event)
                await asyncio.sleep(0.02)

    async def _is_current(self) -> bool:
        status, _, headers = await self.service.get("/queue-settings")
        return (
            status == 200
            and "Policy-Stale" not in headers
            and headers["Policy-Position"] == self.history.head
        )


@dataclass(slots=True)
class World:
    """Everything, and what a story has done to it."""

    histories: tuple[History, History]
    replicas: tuple[Replica, ...]
    endpoints: tuple[Endpoint, ...]
    node: Node
    store: Path
    story: list[str] = field(default_factory=list)
    accepted: list[Any] = field(default_factory=list)
    often: list[int] = field(default_factory=list)
    """Numbers of the questions that are asked again and again."""
    active: History = field(init=False)

    def __post_init__(self) -> None:
        self.active = self.histories[0]

    def tell(self, line: str) -> None:
        self.story.append(f"{self.node.clock.now:9.2f}  {line}")

    def mine(self) -> list[Replica]:
        """The replicas of the database that is in use."""
        return [replica for replica in self.replicas if replica.history is self.active]

    async def lead(self, endpoint: Endpoint, mode: Any = None, replica: Replica | None = None) -> None:
        """Let an endpoint behave so, and lead there; its connections end."""
        target = None if replica is None else replica.service.url
        await endpoint.be(mode or endpoint.mode, target=target)

    async def heal(self) -> None:
        """End all that is wrong: the database in use is reached through every endpoint, and the disk has room."""
        self.node.process.disk_full = False
        mine = self.mine()
        for replica in mine:
            replica.proxy.heal()
            replica.proxy.let_in()
        for replica in mine:
            await replica.catch_up()
        for i, endpoint in enumerate(self.endpoints):
            await self.lead(endpoint, "through", mine[i % len(mine)])


def impatient(dsn: str) -> Config:
    """A configuration with deadlines that a test can wait for."""
    config = make_config(dsn, lease=1.0, poll=0.1, read_on_deadline=0.05)
    database = replace(config.database, connect_timeout=Seconds(0.5), statement_timeout=Seconds(0.3))
    return replace(config, database=database)


@contextlib.asynccontextmanager
async def world(
    postgres: Postgres, dsn: str, kumod: Any, folder: Path, **options: Any
) -> AsyncIterator[World]:
    """One that is well; *options* are of policyd:setup."""
    database = Replaceable(postgres, dsn)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.drop_others)
        async with database.connection() as db:
            await make_token(db, scopes=SCOPES)
            await db.execute(ROWS)
        # A copy of before the disaster: both histories begin alike.
        copy = postgres.dsn(await database.copy())
        histories = []
        for name, each in (("first", dsn), ("restored", copy)):
            histories.append(History(name, await stack.enter_async_context(connection_to(each))))
            await histories[-1].begin()
        replicas = []
        for history, each in ((0, dsn), (0, dsn), (1, copy)):
            proxy = await stack.enter_async_context(proxying(each))
            replica = Replica(histories[history], proxy, impatient(proxy.dsn))
            stack.push_async_callback(replica.stop)
            await replica.start()
            replicas.append(replica)
        endpoints = [
            await stack.enter_async_context(endpoint_before(replica.service.url)) for replica in replicas[:2]
        ]
        token, store = folder / "policyd.token", folder / "store.db"
        token.write_text(TOKEN)
        urls = [endpoint.url for endpoint in endpoints]
        node = await kumod(policy(urls, token, store, ASKED + MODULES, **options), started=False)
        for endpoint in endpoints:
            endpoint.clock = node.clock
        yield World((histories[0], histories[1]), tuple(replicas), tuple(endpoints), node, store)
        await node.stop()
