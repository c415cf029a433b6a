"""The whole service in this process, on ports that the system chooses, against a database of the test's own."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest
import pytest_asyncio

from policyd.app import running
from policyd.cli.main import main
from policyd.config import AdminConfig, Config, DatabaseConfig, FeedConfig, KeyRootConfig, LookupConfig
from policyd.observe.events import Observation
from policyd.policy.token import SCOPES, hash_secret
from policyd.store.pool import Connection
from policyd.units import Address, Seconds
from tests.conftest import Postgres, connection_to

TOKEN = "test.0123456789abcdefghij"
NO_KEYS = Path(__file__).parent
"""A directory in which there are none."""
GROUPS = ("policyd_owner", "policyd_editor", "policyd_service", "policyd_reader")
ANY_PORT = Address("127.0.0.1", 0)


Run = Callable[..., tuple[int, str, str]]


@dataclass(slots=True)
class Observations:
    """Everything that a service said, and a way to wait for more of it."""

    seen: list[Observation] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, observation: Observation) -> None:
        self.seen.append(observation)
        self._changed.set()

    async def wait_for(self, matches: Callable[[Observation], bool], *, after: int = 0) -> Observation:
        async with asyncio.timeout(20):
            while True:
                for observation in self.seen[after:]:
                    if matches(observation):
                        return observation
                self._changed.clear()
                await self._changed.wait()


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, and a client with a good token for it."""

    session: aiohttp.ClientSession
    url: str
    admin_url: str
    observations: Observations

    async def get(self, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=sent) as response:
            return response.status, await response.json(content_type=None), dict(response.headers)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None), dict(response.headers)

    async def reach(self, position: str) -> None:
        """Wait until the service's own feed knows *position*."""
        status, body, _ = await self.get("/queue-settings", Policy_Position=position)
        assert status == 200, body


def make_config(dsn: str, *, keys: Path = NO_KEYS, **feed: float) -> Config:
    """A configuration for tests: ports of the system's choice, private keys in *keys*, a feed with the given settings."""
    settings: dict[str, Any] = {name: Seconds(value) for name, value in feed.items()}
    return Config(
        database=DatabaseConfig(dsn=dsn),
        lookup=LookupConfig(listen=ANY_PORT),
        admin=AdminConfig(listen=ANY_PORT),
        feed=replace(FeedConfig(), **settings),
        keys={"default": KeyRootConfig(dir=keys)},
    )


@contextlib.asynccontextmanager
async def serving(config: Config, *, token: str | None = TOKEN) -> AsyncIterator[Service]:
    observations = Observations()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        running(config, observations) as addresses,
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=15)) as session,
    ):
        yield Service(
            session=session,
            url=f"http://{addresses.lookup}",
            admin_url=f"http://{addresses.admin}",
            observations=observations,
        )


async def head(db: Connection) -> str:
    """The log's head, as a position."""
    row = await db.fetchrow("select number, stamp from policy.revision order by number desc limit 1")
    assert row is not None
    return f"{row['number']}-{row['stamp']}"


async def make_token(db: Connection, token: str = TOKEN, scopes: tuple[str, ...] = SCOPES) -> None:
    name, secret = token.split(".")
    await db.execute(
        "insert into policy.api_token (name, sha256, scopes) values ($1, $2, $3)",
        name,
        hash_secret(secret),
        list(scopes),
    )


@pytest.fixture
def key_directory(tmp_path: Path) -> Path:
    """Where `service` looks for private keys."""
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


@pytest.fixture
async def service(dsn: str, db: Connection, key_directory: Path) -> AsyncIterator[Service]:
    """A service that is current, on a database with nothing but a token."""
    await make_token(db)
    async with serving(make_config(dsn, keys=key_directory)) as running_service:
        await running_service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield running_service


@contextlib.asynccontextmanager
async def serving_rows(postgres: Postgres, rows: str = "") -> AsyncIterator[Service]:
    """A service on a database of its own that holds a token and what the statements of *rows* make."""
    name = await postgres.clone()
    async with connection_to(postgres.dsn(name)) as connection:
        await make_token(connection)
        if rows:
            await connection.execute(rows)
    async with serving(make_config(postgres.dsn(name))) as running_service:
        await running_service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield running_service
    await postgres.drop(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked_only(postgres: Postgres) -> AsyncIterator[Service]:
    """
    Such a service for a whole module of tests that change nothing, because a database takes longer than a question.

    The module needs `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
    """
    async with serving_rows(postgres) as running_service:
        yield running_service


@pytest.fixture
def policyd(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against a fresh database: exit status, standard output, standard error."""
    monkeypatch.setenv("POLICYD_DATABASE_DSN", dsn)
    monkeypatch.setenv("SUDO_USER", "olga")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


@pytest.fixture
async def role(dsn: str, db: Connection) -> AsyncIterator[Callable[[str], str]]:
    """The DSN of a login that is a member of one of the group roles, and no superuser."""
    names = {group: f"test_{group}_{uuid.uuid4().hex[:8]}" for group in GROUPS}
    for group, name in names.items():
        await db.execute(f"create role {name} login password 'p' in role {group}")
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    yield lambda group: urlunsplit(parts._replace(netloc=f"{names[group]}:p@{host}"))
    await db.execute(f"drop role {', '.join(names.values())}")
