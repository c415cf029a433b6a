"""Everything that the chaos is about: PostgreSQL, Vault, services, nodes, somebody who edits; and the ways between them."""

import contextlib
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg

from policyd.store.pool import Connection
from tests.chaos.children import Child, Hear, module
from tests.chaos.clock import RealClock
from tests.chaos.cluster import Cluster, cluster
from tests.integration.conftest import TOKEN, make_token
from tests.integration.proxy import Proxy, proxying
from tests.integration.rows_at_random import TABLES, insert
from tests.integration.vault.double import ROOT as VAULT_TOKEN
from tests.lua.faults import Endpoint
from tests.unit.keys.pems import ed25519_pem

LEASE = 2.0
SIGNED = ("one.example", "two.example", "three.example")
_CONFIG = """
[database]
connections = 4
[lookup]
listen = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:{admin}"
[feed]
lease = "{lease}s"
poll = "500ms"
[dkim]
recheck = "3s"
[nodes]
refresh = "2s"
[keys.default]
kind = "vault"
mount = "secret"
prefix = "dkim"
[vault]
address = "http://127.0.0.1:{vault}"
"""
_SIGNING = """
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain, algorithm) select name, 'ed25519' from unnest($1::text[]) as n (name)
"""


@dataclass(slots=True)
class Service:
    """A replica, and its way to PostgreSQL."""

    child: Child
    url: str
    proxy: Proxy


@dataclass(slots=True)
class Node:
    """A kumod, and its ways to the replicas."""

    child: Child
    endpoints: list[Endpoint]
    store: Path


@dataclass(slots=True)
class World:
    """All of it."""

    directory: Path
    cluster: Cluster
    editor: Child
    editor_proxy: Proxy
    vault: Child
    services: list[Service]
    nodes: list[Node]
    session: aiohttp.ClientSession
    keys: dict[str, set[str]] = field(default_factory=dict)
    """By signed domain: every key that Vault ever had for it."""
    keys_made: int = 0

    @property
    def children(self) -> list[Child]:
        return [
            self.editor,
            self.vault,
            *(service.child for service in self.services),
            *(node.child for node in self.nodes),
        ]

    def new_keys(self) -> None:
        """Have Vault hold another key for each domain that signs."""
        self.keys_made += 1
        pems = {domain: ed25519_pem(self.keys_made * 10 + n).decode() for n, domain in enumerate(SIGNED)}
        for domain, pem in pems.items():
            self.keys.setdefault(domain, set()).add(pem)
        self.tell_keys()

    def tell_keys(self) -> None:
        """Put the newest keys into Vault, which forgets everything when it is killed."""
        pems = {domain: ed25519_pem(self.keys_made * 10 + n).decode() for n, domain in enumerate(SIGNED)}
        self.vault.tell(keys={f"{domain}/s1": pem for domain, pem in pems.items()})

    async def heal(self) -> None:
        """Make everything whole again, whatever was done to it."""
        await self.cluster.start()
        self.cluster.resume()
        self.editor_proxy.heal()
        for child in self.children:
            child.resume()
            if not child.is_running:
                await child.start()
        self.vault.tell(sealed=False)
        self.tell_keys()
        for service in self.services:
            service.proxy.heal()
        for node in self.nodes:
            for endpoint in node.endpoints:
                if endpoint.mode != "through":
                    await endpoint.be("through")


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.asynccontextmanager
async def world(
    directory: Path, hear: Hear, *, seed: int, services: int, nodes: int, rates: tuple[float, float]
) -> AsyncIterator[World]:
    """A world that has just begun: nothing runs yet but PostgreSQL and the ways. *rates* are the editor's and a node's."""
    async with contextlib.AsyncExitStack() as stack:
        made = await stack.enter_async_context(cluster(directory))
        async with made.administrator() as connection:
            await _prepare(connection, seed)
        token = directory / "token"
        token.write_text(TOKEN + "\n")
        vault_port = free_port()
        ports = [free_port() for _ in range(services)]
        replicas = [
            await _service(stack, made, directory, hear, name=f"service-{n}", port=port, vault=vault_port)
            for n, port in enumerate(ports)
        ]
        editor_proxy = await stack.enter_async_context(proxying(made.dsn))
        editor = Child(
            "editor",
            module("tests.chaos.editor", editor_proxy.dsn, seed, rates[0]),
            log=directory / "editor.log",
            hear=lambda said: hear({"from": "editor", **said}),
        )
        vault = Child(
            "vault", module("tests.chaos.vault", vault_port), log=directory / "vault.log", hear=lambda _: None
        )
        made.proxies = [editor_proxy, *(service.proxy for service in replicas)]
        kumods = [
            await _node(
                stack, directory, hear, replicas, token, name=f"node-{n}", seed=seed + n * 100, rate=rates[1]
            )
            for n in range(nodes)
        ]
        timeout = aiohttp.ClientTimeout(total=3)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=timeout)
        )
        all_ = World(directory, made, editor, editor_proxy, vault, replicas, kumods, session)
        stack.push_async_callback(_end, all_)
        yield all_


async def _prepare(connection: Connection, seed: int) -> None:
    """A token, domains that sign, and some rows of everything else, so that the first edits find something to change."""
    await make_token(connection)
    chance = random.Random(seed)
    for table in TABLES:
        if not table.name.startswith(("dkim", "api_token")):
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute(insert(chance, table, many=6))
    settings, domains = _SIGNING.split(";")
    await connection.execute(settings)
    await connection.execute(domains, list(SIGNED))


async def _service(
    stack: contextlib.AsyncExitStack,
    made: Cluster,
    directory: Path,
    hear: Hear,
    *,
    name: str,
    port: int,
    vault: int,
) -> Service:
    proxy = await stack.enter_async_context(proxying(made.dsn))
    config = directory / f"{name}.toml"
    config.write_text(_CONFIG.format(port=port, admin=free_port(), lease=LEASE, vault=vault))
    child = Child(
        name,
        module("policyd", "serve", "--config", config),
        log=directory / f"{name}.log",
        hear=lambda said: hear({"from": name, **said}),
        environ={
            "POLICYD_DATABASE_DSN": proxy.dsn,
            "POLICYD_VAULT_TOKEN": VAULT_TOKEN,
            "HOME": str(directory),
        },
    )
    return Service(child, f"http://127.0.0.1:{port}", proxy)


async def _node(
    stack: contextlib.AsyncExitStack,
    directory: Path,
    hear: Hear,
    services: list[Service],
    token: Path,
    *,
    name: str,
    seed: int,
    rate: float,
) -> Node:
    endpoints = [Endpoint(service.url) for service in services]
    for endpoint in endpoints:
        endpoint.clock = RealClock()
        await endpoint.be("through")
        stack.push_async_callback(endpoint.close)
    store = directory / name / "store.db"
    store.parent.mkdir(mode=0o700)
    urls = [endpoint.url for endpoint in endpoints]
    # Nobody asks all nodes' first endpoint alone.
    turned = urls[seed // 100 % len(urls) :] + urls[: seed // 100 % len(urls)]
    child = Child(
        name,
        module("tests.chaos.node", name, token, store, seed, rate, *turned),
        log=directory / f"{name}.log",
        hear=lambda said: hear({"from": name, **said}),
    )
    return Node(child, endpoints, store)


async def _end(all_: World) -> None:
    for child in all_.children:
        child.resume()
        await child.kill()
