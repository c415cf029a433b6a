"""
The composition root: the one place where concrete things meet.

Everything that is opened is opened on one stack and closed in reverse; background tasks live in one group.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from policyd import __version__
from policyd.api.admin import Admin, create_admin
from policyd.api.answering import Answering
from policyd.api.authenticating import Authenticating
from policyd.api.bearers import Bearers
from policyd.api.key_answers import KeyAnswers
from policyd.api.listening import ANSWERED_WITHIN, drain, open_listener, room_for
from policyd.api.lookup_listener import LookupListener
from policyd.api.routes import Router
from policyd.api.server import Room, Server
from policyd.api.table import create_routes
from policyd.api.tls import tls_of
from policyd.config import Config, LookupConfig
from policyd.errors import ConfigError
from policyd.keys import Keys
from policyd.live.answers import AnswerCache
from policyd.live.batch import Batch
from policyd.live.failures import FailureLimits
from policyd.live.feed import Feed
from policyd.live.history import Archive, History
from policyd.live.keyring import Backends, Keyring
from policyd.live.logins import Logins
from policyd.live.lookups import Lookups
from policyd.live.node_watch import watch_nodes
from policyd.live.password_checks import PasswordChecks
from policyd.live.pruning import prune_history
from policyd.live.rechecking import Recheck
from policyd.live.sighting import Sighting
from policyd.live.tally import BOUNDS, Tally
from policyd.live.token_rows import TokenRows
from policyd.observe.events import Observer, ServiceStarted, ServiceStopping
from policyd.observe.logs import Logs, tee
from policyd.observe.metrics import Metrics, State
from policyd.observe.supervisor import Supervisor
from policyd.passwords import is_password
from policyd.policy.dkim import DKIM_KEY
from policyd.policy.kinds import KINDS
from policyd.policy.narrators import EXPLAINED_ONLY
from policyd.store.database import BATCH_STATEMENTS, BULK, Database
from policyd.units import Address

_KEEPALIVE = 120.0
"""Seconds; longer than kumod keeps an idle connection (90 s), so that the server is never the first to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the listeners are, with the ports that the system chose."""

    lookup: Address
    admin: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What the listeners are made of."""

    feed: Feed
    batch: Batch
    keys: Keys
    recheck: Recheck
    watch: Callable[[], Coroutine[Any, Any, None]]
    prune: Callable[[], Coroutine[Any, Any, None]]
    listener: LookupListener
    room: Room
    admin: Admin
    observe: Observer


async def serve(config: Config, *observers: Observer, supervisor: Supervisor | None = None) -> None:
    """Serve until cancelled; *supervisor* is told when the listeners are open, and hears the event loop turn."""
    if supervisor is None:
        async with running(config, *observers):
            await asyncio.Event().wait()
    else:
        async with running(config, *observers, supervisor):
            await supervisor.run()


@asynccontextmanager
async def running(config: Config, *observers: Observer) -> AsyncIterator[Addresses]:
    """The whole service for as long as the context is open; *observers* are told what happens, too."""
    refuse_open_listeners(config.lookup)
    async with AsyncExitStack() as stack:
        service = _create(stack, config, *observers)
        await stack.enter_async_context(
            _background(
                service.feed.run(),
                service.batch.run(),
                service.keys.run(),
                service.recheck.run(config.keys),
                service.watch(),
                service.prune(),
            )
        )
        addresses = Addresses(
            admin=await open_listener(
                stack,
                web.AppRunner(create_admin(service.admin), shutdown_timeout=ANSWERED_WITHIN),
                config.admin.listen,
                setting="admin.listen",
            ),
            lookup=await _open_lookups(stack, config, service),
        )
        stack.callback(service.feed.stop_waiting)
        gc.collect()
        gc.freeze()
        # A few hundred lookups that wait hold more objects than the default, so that each collection was for nothing.
        gc.set_threshold(10_000)
        service.observe(
            ServiceStarted(
                lookup=str(addresses.lookup),
                admin=str(addresses.admin),
                version=__version__,
                current=service.feed.current,
                connections=service.room.most,
            )
        )
        try:
            yield addresses
        finally:
            service.observe(ServiceStopping())


def refuse_open_listeners(config: LookupConfig) -> None:
    """Raise ConfigError for a listener that would answer strangers, or half of a TLS configuration."""
    if not config.require_tokens and not config.listen.is_loopback:
        raise ConfigError(
            f"lookup.listen is {config.listen}, and lookup.require_tokens is false:"
            " without tokens only a loopback address may be used",
            hint="set lookup.require_tokens = true, or listen on 127.0.0.1",
        )
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ConfigError("lookup.tls_cert and lookup.tls_key belong together", hint="set both, or neither")


def _create(stack: AsyncExitStack, config: Config, *observers: Observer) -> _Service:
    tallies = {kind.name: Tally() for kind in (*KINDS, DKIM_KEY)}
    room = Room(room_for(config.lookup.max_connections))
    cache = AnswerCache(most_bytes=config.cache.bytes, none_share=config.cache.none_share)
    metrics = Metrics(
        version=__version__,
        tallies=tallies,
        bounds=BOUNDS,
        state=lambda: _state(feed, cache, lookups, room),
        clock=time.monotonic,
    )
    observe = tee(Logs(clock=time.monotonic), metrics, *observers)
    database = Database(config.database, observe)
    stack.push_async_callback(database.close)
    feed = Feed(database.log, config.feed, observe)
    batch = Batch(
        database.read_documents,
        workers=BATCH_STATEMENTS,
        most_waiting=config.lookup.max_pending,
        # What is read then is still answered within the deadline of whoever asked.
        longest_wait=config.lookup.deadline / 4,
    )
    keys = Keys(config.keys, config.vault, observe)
    stack.push_async_callback(keys.close)
    keyring, recheck = _keyring(keys, database, config, observe)
    lookups = Lookups(
        (*KINDS, DKIM_KEY, *EXPLAINED_ONLY),
        tallies=tallies,
        cache=cache,
        batch=Sighting(batch=batch, keyring=keyring),
        feed=feed,
        config=config,
        doubt=recheck.doubt,
    )
    bearers = Bearers(TokenRows(lookups, feed), feed, config)
    answering = Answering(
        lookups=lookups,
        history=History(
            feed,
            Archive(holds=database.holds_position, read=database.read_changes),
            config.feed,
            most_tags=BULK,
        ),
        drills=feed.drills,
        kinds={kind.segment: kind for kind in KINDS},
        read_names=database.read_names,
        write_report=database.write_report,
        observe=observe,
        most_bytes=config.lookup.max_body,
        body_deadline=config.lookup.body_deadline,
    )
    listener = LookupListener(
        answering=answering,
        bearers=bearers,
        feed=feed,
        lookups=lookups,
        router=Router(
            create_routes(
                answering,
                Authenticating(
                    logins=_logins(stack, lookups, feed, config, observe),
                    body_deadline=config.lookup.body_deadline,
                ),
                KeyAnswers(lookups=lookups, keyring=keyring, observe=observe),
                version=__version__,
            )
        ),
        observe=observe,
        allow_plaintext_secrets=config.lookup.allow_plaintext_secrets,
    )
    admin = Admin(
        feed=feed,
        bearers=bearers,
        lookups=lookups,
        kinds={kind.segment: kind for kind in (*KINDS, *EXPLAINED_ONLY)},
        metrics=metrics.render,
        observe=observe,
        max_stale=config.cache.max_stale,
    )
    return _Service(
        feed=feed,
        batch=batch,
        keys=keys,
        recheck=recheck,
        watch=partial(watch_nodes, database.read_nodes, database.forget_silent_nodes, config.nodes, observe),
        prune=partial(prune_history, database.prune_history, config.history.keep, observe),
        listener=listener,
        room=room,
        admin=admin,
        observe=observe,
    )


def _logins(stack: AsyncExitStack, lookups: Lookups, feed: Feed, config: Config, observe: Observer) -> Logins:
    checks = PasswordChecks(is_password, threads=config.auth.threads, most_waiting=config.auth.max_waiting)
    stack.callback(checks.close)
    limits = FailureLimits(most=config.auth.failures, within=config.auth.failures_within)
    return Logins(lookups, feed, checks=checks, limits=limits, config=config, observe=observe)


def _keyring(keys: Keys, database: Database, config: Config, observe: Observer) -> tuple[Keyring, Recheck]:
    backends = Backends(read=keys.read, note=database.note_dkim_key, known=database.known_dkim_key)
    # A plan that waits for a key is to say so, and not that PostgreSQL is slow.
    keyring = Keyring(backends, config.dkim, deadline=0.9 * config.lookup.deadline, observe=observe)
    recheck = Recheck(
        keyring,
        count=database.count_dkim_keys,
        page=database.seen_dkim_keys,
        config=config.dkim,
        observe=observe,
    )
    return keyring, recheck


def _state(feed: Feed, cache: AnswerCache, lookups: Lookups, room: Room) -> State:
    return State(
        revision=0 if feed.known is None else feed.known.position.number,
        current=feed.current,
        cache_bytes=cache.bytes,
        cache_entries=len(cache),
        pending=lookups.pending,
        connections=room.open,
        most_connections=room.most,
    )


@asynccontextmanager
async def _background(*endless: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that end with this context; if one of them fails, so does everything."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in endless]
        try:
            yield
        except Exception as error:  # noqa: BLE001  (the group would wrap it: whoever waits for a ConfigError missed it)
            failure = error
        finally:
            for task in tasks:
                task.cancel()
    if failure is not None:
        raise failure


async def _open_lookups(stack: AsyncExitStack, config: Config, service: _Service) -> Address:
    """Listen for lookups as soon as the log was read: 503 for a moment is what a restart must not cost anybody."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(config.database.connect_timeout):
            await service.feed.has_tried.wait()
    server = Server(
        service.listener,
        service.observe,
        service.room,
        keepalive_timeout=_KEEPALIVE,
        head_deadline=config.lookup.head_deadline,
    )
    runner = web.ServerRunner(server, shutdown_timeout=ANSWERED_WITHIN)
    address = await open_listener(
        stack,
        runner,
        config.lookup.listen,
        setting="lookup.listen",
        tls=tls_of(stack, config.lookup, service.observe),
        reuse_port=config.lookup.reuse_port,
    )
    stack.push_async_callback(
        drain, runner, server, service.listener.say_goodbye, accept_for=config.lookup.drain
    )
    return address
