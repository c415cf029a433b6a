"""PostgreSQL as the person who runs a command."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import uvloop

from policyd.config import Config, DatabaseConfig, KeyRootConfig
from policyd.config_loader import Loaded
from policyd.errors import ConfigError
from policyd.store.embedded import running_dsn
from policyd.store.people import act_as
from policyd.store.pool import Connection, close, connect

T = TypeVar("T")
KEYS = "dkim"
"""Where in the state directory of `policyd up` the keys of the example are."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Result of *work*, on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def reachable(config: Config) -> DatabaseConfig:
    """Where PostgreSQL is: the configured one, or the embedded one that another policyd runs on this machine."""
    if not config.database.is_embedded:
        return config.database
    dsn = running_dsn(config.embedded)
    if dsn is None:
        raise ConfigError(
            f"no PostgreSQL is configured, and no policyd runs one in {config.embedded.state}",
            hint="start one with `policyd up` (or make run), or say where it is with POLICYD_DATABASE_DSN",
        )
    return replace(config.database, dsn=dsn)


def with_example_keys(loaded: Loaded, config: Config) -> Config:
    """Private keys are those that the first run of `policyd up` made, unless somebody says where they are."""
    made = config.embedded.state / KEYS
    if any(key.startswith("keys.default.") for key in loaded.origins) or not made.is_dir():
        return config
    return replace(config, keys={**config.keys, "default": KeyRootConfig(dir=made)})


@asynccontextmanager
async def person(
    config: Config, *, purpose: str, reason: str | None = None, statement_timeout: float | None = 0
) -> AsyncIterator[Connection]:
    """
    Connection whose changes are logged as this person's.

    Without limit to what a statement may take; with None for *statement_timeout*, the configured one.
    """
    connection = await connect(reachable(config), purpose=purpose, statement_timeout=statement_timeout)
    try:
        await act_as(connection, actor=whoever_this_is(), reason=reason)
        yield connection
    finally:
        await close(connection)


def whoever_this_is() -> str:
    """Name of the person, behind sudo too."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
