"""Simulated nodes, and a real service for them to ask."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, make_config, make_token, serving
from tests.integration.signing import KeyFiles
from tests.lua.faults import Endpoint, endpoint_before
from tests.lua.kumo_sim.node import Node
from tests.lua.sites import Site

ROOT = Path(__file__).parents[2]
PACKAGE_PATH = f"{ROOT}/lua-client/?.lua;{ROOT}/lua-client/?/init.lua"
SCOPES = ("lookup", "dkim", "auth", "status")


@pytest.fixture
async def kumod() -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """
    Start simulated nodes: `node = await kumod(policy)`, a Lua text or the path of a file.

    Settings: `started=False` leaves the start to the test; all others go to Process. At the end no node may have used what is not simulated.
    """
    nodes = []

    async def start(policy: str | Path, *, started: bool = True, **settings: Any) -> Node:
        node = Node(policy, **{"package_path": PACKAGE_PATH, **settings})
        nodes.append(node)
        return await node.start() if started else node

    yield start
    for node in nodes:
        await node.stop()
    assert [problem for node in nodes for problem in node.problems] == []


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    """Where the service has its private keys."""
    (tmp_path / "keys").mkdir()
    return KeyFiles(tmp_path / "keys")


@pytest.fixture
async def service(dsn: str, db: Connection, keys: KeyFiles) -> AsyncIterator[Service]:
    """A service that is current, on a database with nothing but a token that may do what a node needs."""
    await make_token(db, scopes=SCOPES)
    async with serving(make_config(dsn, keys=keys.directory)) as running_service:
        await running_service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield running_service


@pytest.fixture
async def endpoint(service: Service) -> AsyncIterator[Endpoint]:
    """The way to the service, which can be disturbed."""
    async with endpoint_before(service.url) as between:
        yield between


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """The token as it lies on a node, with the newline that an editor leaves."""
    path = tmp_path / "policyd.token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def site(
    kumod: Callable[..., Awaitable[Node]],
    endpoint: Endpoint,
    db: Connection,
    token_file: Path,
    tmp_path: Path,
) -> Site:
    """What a node with policyd's modules needs; `await site.node(rows=…)` starts one."""
    return Site(kumod, endpoint, db, token_file, tmp_path / "store.db")
