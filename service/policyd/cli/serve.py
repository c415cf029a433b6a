"""policyd serve, policyd up: the service, until it is told to stop."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from policyd import app
from policyd.cli.configured import configured
from policyd.cli.connecting import KEYS, person, reachable, with_example_keys
from policyd.cli.greeting import greeting
from policyd.cli.terminal import terminal_watch
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import DatabaseUnavailable
from policyd.observe.events import CurrencyRegained, Observation, Observer, ReloadAsked
from policyd.observe.logs import set_up_logging
from policyd.observe.supervisor import supervised
from policyd.operate.first_run import import_example, make_examples, make_keys, make_token_file
from policyd.shipped import example_root
from policyd.store import embedded
from policyd.store.migrate import Migration, check_schema, migrate
from policyd.store.samples import Samples, is_untouched, read_samples

_FILES = 65_536
"""Open files that are enough for every node's long-poll and all its lookups."""


@click.command("serve")
@configured
def serve(loaded: Loaded) -> None:
    """Answer lookups. PostgreSQL is where the configuration says, or the one that `policyd up` runs here."""
    config = replace(loaded.config, database=reachable(loaded.config))
    set_up_logging(level=config.logging.level, form=config.logging.format)
    _run_until_told(lambda told: _serve(config, told))


async def _serve(config: Config, told: Observer) -> None:
    # The service starts without PostgreSQL; but not with one that it would misread.
    with contextlib.suppress(DatabaseUnavailable):
        async with person(config, purpose="start") as connection:
            await check_schema(connection)
    with supervised(os.environ) as supervisor:
        await app.serve(config, told, supervisor=supervisor)


@click.command("up", short_help="Start everything that is needed on one machine, and serve.")
@configured
def up(loaded: Loaded) -> None:
    """
    Everything on one machine: embedded PostgreSQL, schema, example policy on the first run, a token, the service.

    With a PostgreSQL elsewhere (POLICYD_DATABASE_DSN) the same without the embedded one.
    """
    set_up_logging(level=loaded.config.logging.level, form=loaded.config.logging.format)
    with _terminable(), _database(loaded.config) as (config, server):
        _run_until_told(lambda told: _up(loaded, config, server, told))


@contextlib.contextmanager
def _database(config: Config) -> Iterator[tuple[Config, embedded.Server | None]]:
    if not config.database.is_embedded:
        yield config, None
        return
    _say(f"starting PostgreSQL in {config.embedded.state}")
    with embedded.running(config.embedded) as server:
        yield replace(config, database=replace(config.database, dsn=server.dsn())), server
        _say("stopping PostgreSQL")


async def _up(loaded: Loaded, config: Config, server: embedded.Server | None, told: Observer) -> None:
    token = config.embedded.state / "token"
    credential = config.embedded.state / "credential.json"
    samples = await _prepare(config, token, credential)
    config = with_example_keys(loaded, config)
    options = (
        ["--state", str(config.embedded.state)]
        if "a flag" in loaded.origins.get("embedded.state", "")
        else []
    )
    where = (
        f"PostgreSQL in {server.layout.state}, log {server.layout.log}" if server else "the configured one"
    )

    async with asyncio.TaskGroup() as group:
        if server is not None:
            group.create_task(_keep_alive(server))
        current = asyncio.Event()
        async with app.running(config, told, _when_current(current.set)) as addresses:
            # A moment later than the listeners are open, so that the first line that is pasted is not answered 503.
            await current.wait()
            click.echo(
                greeting(
                    addresses,
                    config,
                    samples,
                    database=where,
                    token=token,
                    credential=credential if credential.exists() else None,
                    options=options,
                )
            )
            await asyncio.Event().wait()


def _when_current(call: Callable[[], None]) -> Observer:
    def observe(observation: Observation) -> None:
        if isinstance(observation, CurrencyRegained):
            call()

    return observe


async def _prepare(config: Config, token: Path, credential: Path) -> Samples:
    """Schema, example with a credential, and token, each unless it is there."""
    async with person(config, purpose="up") as connection:
        applied: list[Migration] = await migrate(connection)
        if applied:
            _say(f"schema: applied {applied[0].name} to {applied[-1].name}")
        if await is_untouched(connection):  # before the rows: once those are there, nobody makes them keys
            made = await asyncio.to_thread(make_keys, example_root(), config.embedded.state / KEYS)
            _say(f"keys: made {made} in {config.embedded.state / KEYS}")
        imported = await import_example(connection, example_root())
        if imported is not None:
            _say(f"policy: imported the example in {example_root()}")
            await make_examples(connection, credential)
            _say(f"credential: wrote {credential}")
        if await make_token_file(connection, token):
            _say(f"token: wrote {token}")
        return await read_samples(connection)


async def _keep_alive(server: embedded.Server) -> None:
    """Start PostgreSQL again whenever it ends by itself; meanwhile the service answers what it knows, marked stale."""
    pause = 1.0
    while True:
        status = await server.ended()
        _say(f"PostgreSQL ended (status {status}); starting it again. Its log: {server.layout.log}")
        await asyncio.to_thread(server.clear)
        server.spawn()
        await asyncio.sleep(pause)
        pause = 1.0 if server.is_ready() else min(pause * 2, 30.0)


def _run_until_told(work: Callable[[Observer], Coroutine[Any, Any, None]]) -> None:
    """
    Run until *work* ends, or SIGINT or SIGTERM arrives, or its terminal is closed; each ends it in order.

    It is given an observer, to be told of every SIGHUP that was taken for a wish to reload.
    """
    is_abandoned = terminal_watch()
    _allow_many_files()

    async def main() -> None:
        def hear(observation: Observation) -> None:
            if isinstance(observation, ReloadAsked):
                end_if_abandoned()

        def end_if_abandoned() -> None:
            if is_abandoned():
                task.cancel()

        task = asyncio.ensure_future(work(hear))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        loop.add_signal_handler(signal.SIGHUP, end_if_abandoned)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _allow_many_files() -> None:
    """Raise the soft limit of open files, which is 1,024 for the sake of programs that are older than poll(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft not in (resource.RLIM_INFINITY, wanted) and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _first(error: BaseException) -> BaseException:
    """The one error that matters to a person: groups are how tasks end."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and a closed terminal unwind like ctrl-C does, before and after the loop has handlers of its own."""
    is_abandoned = terminal_watch()

    def end(number: int, _: object) -> None:
        if number != signal.SIGHUP or is_abandoned():
            sys.exit(128 + number)

    heard = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup means what it says
    ]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    click.echo(f"policyd: {text}", err=True)
