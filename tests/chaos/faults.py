"""
What can happen. Each fault lasts as long as its context; when it is left, things are as good as they get by themselves.

Those of one `family` exclude each other: a server that is killed cannot be stopped too.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from policyd.config import DatabaseConfig
from policyd.errors import DatabaseUnavailable
from policyd.store.pool import Connection, close, connect
from tests.chaos.history import History
from tests.chaos.world import World
from tests.lua.faults import TROUBLES

Happens: TypeAlias = Callable[[World, History, random.Random], AbstractAsyncContextManager[None]]
_SLOW_FOR = (0.3, 0.9, 3.0)
"""Seconds: less than a node waits for one of two, just less, and more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can happen, by its name."""

    name: str
    family: str
    happens: Happens


@contextlib.asynccontextmanager
async def postgres_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    await world.cluster.kill()
    yield
    await world.cluster.start()


@contextlib.asynccontextmanager
async def postgres_restarted(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """Stopped as an operator does; what it is then may be restored later."""
    await world.cluster.stop()
    await world.cluster.copy()
    await world.cluster.start()
    yield


@contextlib.asynccontextmanager
async def postgres_stopped(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    await world.cluster.stop()
    yield
    await world.cluster.start()


@contextlib.asynccontextmanager
async def postgres_paused(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    world.cluster.pause()
    yield
    world.cluster.resume()


@contextlib.asynccontextmanager
async def postgres_restored(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    await _become_older(world, history, elsewhere=False, killed=False)
    yield


@contextlib.asynccontextmanager
async def postgres_failed_over(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """The one that runs is gone, and another one that has not got its last commits stands in."""
    await _become_older(world, history, elsewhere=True, killed=True)
    yield


async def _become_older(world: World, history: History, *, elsewhere: bool, killed: bool) -> None:
    if world.cluster.copied_at not in history.states:
        await world.cluster.stop()
        await world.cluster.copy()
        return
    # Nobody may reach it before it is known what it is.
    for proxy in world.cluster.proxies:
        proxy.cut()
    await (world.cluster.kill() if killed else world.cluster.stop())
    position = await world.cluster.restore(elsewhere=elsewhere)
    history.reset(position, time.monotonic())
    world.cluster.lead()
    for proxy in world.cluster.proxies:
        proxy.let_in()


@contextlib.asynccontextmanager
async def postgres_read_only(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    async with world.cluster.administrator() as connection:
        await _set_read_only(connection, "on")
        others = (
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'policyd %'"
        )
        await connection.execute(f"{others} and pid <> pg_backend_pid()")
    yield
    async with world.cluster.administrator() as connection:
        await _set_read_only(connection, "off")


async def _set_read_only(connection: Connection, setting: str) -> None:
    await connection.execute(f"alter system set default_transaction_read_only = {setting}")
    await connection.execute("select pg_reload_conf()")


@contextlib.asynccontextmanager
async def postgres_full(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """No connection is left, and those that there were are gone."""
    held: list[Connection] = []
    for proxy in world.cluster.proxies:
        proxy.cut()
    try:
        with contextlib.suppress(DatabaseUnavailable):
            for _ in range(60):
                held += [await connect(DatabaseConfig(dsn=world.cluster.dsn), purpose="crowd")]
        for proxy in world.cluster.proxies:
            proxy.let_in()
        yield
    finally:
        for connection in held:
            await close(connection)


@contextlib.asynccontextmanager
async def database_cut(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    proxy = chance.choice(world.services).proxy
    proxy.cut()
    yield
    proxy.heal()


@contextlib.asynccontextmanager
async def database_silent(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    proxy = chance.choice(world.services).proxy
    proxy.fall_silent(chance.choice(("", "lookups", "change feed", "questions")))
    yield
    proxy.heal()


@contextlib.asynccontextmanager
async def database_slow(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    proxy = chance.choice(world.services).proxy
    proxy.slow_down(chance.choice((0.02, 0.2, 1.0)))
    yield
    proxy.heal()


@contextlib.asynccontextmanager
async def service_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    child = chance.choice(world.services).child
    await child.kill()
    yield
    await child.start()


@contextlib.asynccontextmanager
async def service_paused(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    child = chance.choice(world.services).child
    child.pause()
    yield
    child.resume()


@contextlib.asynccontextmanager
async def services_rolled(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """One after the other is stopped as an operator does, and started again."""
    for service in world.services:
        await service.child.stop()
        await service.child.start()
    yield


@contextlib.asynccontextmanager
async def all_services_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    for service in world.services:
        await service.child.kill()
    yield
    for service in world.services:
        await service.child.start()


@contextlib.asynccontextmanager
async def network_bad(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """Between one node and one service."""
    endpoint = chance.choice(chance.choice(world.nodes).endpoints)
    endpoint.slow_for = chance.choice(_SLOW_FOR)
    await endpoint.be(chance.choice(TROUBLES))
    yield
    await endpoint.be("through")


@contextlib.asynccontextmanager
async def node_cut_off(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    endpoints = chance.choice(world.nodes).endpoints
    mode, slow_for = chance.choice(TROUBLES), chance.choice(_SLOW_FOR)
    for endpoint in endpoints:
        endpoint.slow_for = slow_for
        await endpoint.be(mode)
    yield
    for endpoint in endpoints:
        await endpoint.be("through")


@contextlib.asynccontextmanager
async def node_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    child = chance.choice(world.nodes).child
    await child.kill()
    await child.start()
    yield


@contextlib.asynccontextmanager
async def node_without_store(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """Killed, and started with nothing."""
    node = chance.choice(world.nodes)
    await node.child.kill()
    for path in node.store.parent.iterdir():
        path.unlink()
    await node.child.start()
    yield


@contextlib.asynccontextmanager
async def node_paused(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    child = chance.choice(world.nodes).child
    child.pause()
    yield
    child.resume()


@contextlib.asynccontextmanager
async def vault_paused(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    world.vault.pause()
    yield
    world.vault.resume()


@contextlib.asynccontextmanager
async def vault_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    await world.vault.kill()
    yield
    await world.vault.start()
    world.tell_keys()


@contextlib.asynccontextmanager
async def vault_sealed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    world.vault.tell(sealed=True)
    yield
    world.vault.tell(sealed=False)


@contextlib.asynccontextmanager
async def keys_replaced(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    world.new_keys()
    yield


@contextlib.asynccontextmanager
async def editor_killed(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    await world.editor.kill()
    await world.editor.start()
    yield


@contextlib.asynccontextmanager
async def drill(world: World, history: History, chance: random.Random) -> AsyncIterator[None]:
    """It ends by itself, or with whatever becomes of the database."""
    kinds = chance.choice((None, ["tenant", "queue"], ["listener_domain"]))
    nodes = chance.choice((None, [chance.choice(world.nodes).child.name]))
    with contextlib.suppress(
        DatabaseUnavailable, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError
    ):
        async with asyncio.timeout(3), world.cluster.administrator() as connection:
            await connection.execute(
                "insert into policy.drill (kinds, nodes, until) values ($1, $2, clock_timestamp() + interval '3 s')",
                kinds,
                nodes,
            )
    yield


_FAMILIES: dict[str, tuple[Happens, ...]] = {
    "postgres": (
        postgres_killed, postgres_restarted, postgres_stopped, postgres_paused, postgres_restored,
        postgres_failed_over, postgres_read_only, postgres_full,
    ),
    "database": (database_cut, database_silent, database_slow),
    "service": (service_killed, service_paused, services_rolled, all_services_killed),
    "network": (network_bad, node_cut_off),
    "node": (node_killed, node_without_store, node_paused),
    "vault": (vault_paused, vault_killed, vault_sealed, keys_replaced),
    "editor": (editor_killed,),
    "drill": (drill,),
}  # fmt: skip
FAULTS = tuple(
    Fault(happens.__name__.replace("_", " "), family, happens)
    for family, several in _FAMILIES.items()
    for happens in several
)


async def use(fault: Fault, world: World, history: History, chance: random.Random, seconds: float) -> None:
    """Let it happen for so long."""
    async with fault.happens(world, history, chance):
        await asyncio.sleep(seconds)
