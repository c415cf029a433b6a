"""Real kumods, a real service for them to ask, and a sink for their mail; skipped where there is no kumod."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, make_config, make_token, serving
from tests.kumod.process import Kumod, binary
from tests.kumod.sink import Sink, sinking
from tests.kumod.site import Site
from tests.kumod.webhooks import Receiver, listening
from tests.lua.faults import Endpoint, endpoint_before

HERE = Path(__file__).parent
SCOPES = ("lookup", "dkim", "auth", "status")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if binary() is None:
        absent = pytest.mark.skip(reason="no kumod: neither $KUMOD nor /opt/kumomta/sbin/kumod is one")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(absent)


@pytest.fixture
def key_directory(tmp_path: Path) -> Path:
    """Where the service looks for private keys."""
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


@pytest.fixture
async def service(dsn: str, db: Connection, key_directory: Path) -> AsyncIterator[Service]:
    """A service that is current, on a database with nothing but a token that may do what a node needs."""
    await make_token(db, scopes=SCOPES)
    async with serving(make_config(dsn, keys=key_directory)) as running_service:
        await running_service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield running_service


@pytest.fixture
async def endpoint(service: Service) -> AsyncIterator[Endpoint]:
    """The way to the service, which can be disturbed."""
    async with endpoint_before(service.url) as between:
        yield between


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """Where all mail goes."""
    async with sinking() as listening:
        yield listening


@pytest.fixture
async def site(endpoint: Endpoint, db: Connection, sink: Sink, tmp_path: Path) -> AsyncIterator[Site]:
    """A node's directory with a token, and everything around it; `await site.node()` starts its kumod."""
    directory = tmp_path / "node"
    (directory / "policyd").mkdir(mode=0o700, parents=True)
    token = directory / "policyd.token"
    token.write_text(TOKEN + "\n")
    kumod = Kumod(policy=directory / "init.lua", directory=directory)
    yield Site(endpoint, db, token, directory, sink, kumod)
    # Told to end, it would wait two seconds for the sink's connections.
    await kumod.stop(signal.SIGKILL)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Where webhooks go."""
    async with listening() as receiving:
        yield receiving


@pytest.fixture
def store_key(tmp_path: Path) -> str:
    """The Lua expression of a store key, in a file."""
    path = tmp_path / "store.key"
    path.write_bytes(bytes(range(64)))
    return f"'{path}'"
