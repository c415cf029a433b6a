"""
What is wrong, or about to be, with an installation: each finding with what to do.

Nothing is changed by looking. A part that cannot be looked at is a finding, and the parts that do not depend on it are
looked at all the same.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from policyd.config import Config
from policyd.errors import DatabaseUnavailable, PolicydError
from policyd.operate.doctor_keys import check_keys
from policyd.operate.finding import Finding
from policyd.policy.node import NodeState
from policyd.store.health import (
    SchemaHealth,
    ServerHealth,
    read_schema_health,
    read_server_health,
    read_wanted_keys,
)
from policyd.store.migrate import check_schema
from policyd.store.nodes import read_states
from policyd.store.pool import Connection
from policyd.store.tokens import TokenRow, list_tokens

_OLDEST = 150_000
_CLOCKS_DIFFER = 1.0
_SOON = timedelta(days=14)
_BEHIND = 60.0
_SPARE_CONNECTIONS = 10
_INVALIDATE = "then select policy.invalidate(KIND, 'changed without triggers') for what was changed meanwhile"

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]


async def examine(config: Config, connect: Connect, *, most_keys: int) -> AsyncIterator[Finding]:
    """Findings, area by area, as they are made."""
    try:
        async with connect() as connection:
            async for finding in _examine_database(config, connection, most_keys=most_keys):
                yield finding
    except DatabaseUnavailable as error:
        yield Finding(
            "database",
            "error",
            str(error),
            error.hint or "look at PostgreSQL; nodes and replicas go on with what they know meanwhile",
        )
        async for finding in check_keys(config, None):
            yield finding


async def _examine_database(
    config: Config, connection: Connection, *, most_keys: int
) -> AsyncIterator[Finding]:
    before = time.time()
    server = await read_server_health(connection)
    for finding in _server(config, server, now=(before + time.time()) / 2):
        yield finding
    try:
        await check_schema(connection)
    except PolicydError as error:
        yield Finding("database", "error", str(error), error.hint)
        return
    for finding in _schema(await read_schema_health(connection), server.role):
        yield finding
    for finding in _tokens(await list_tokens(connection), now=datetime.now(UTC)):
        yield finding
    for finding in _nodes(await read_states(connection)):
        yield finding
    wanted = await read_wanted_keys(connection, most=most_keys)
    async for finding in check_keys(config, wanted):
        yield finding


def _server(config: Config, server: ServerHealth, *, now: float) -> list[Finding]:
    found = [*_kind_of_server(server), *_surroundings(config, server, now=now)]
    return found or [
        Finding("database", "ok", f"PostgreSQL {server.version}, a primary, asked as {server.role}")
    ]


def _kind_of_server(server: ServerHealth) -> Iterator[Finding]:
    if server.version_number < _OLDEST:
        yield Finding(
            "database", "error", f"this is PostgreSQL {server.version}", "upgrade it to 15 or newer"
        )
    if server.in_recovery:
        yield Finding(
            "database",
            "error",
            "this is a standby, and only a primary is used",
            "name every host in database.dsn: policyd finds the primary among them",
        )
    if server.replication_role != "origin":
        yield Finding(
            "database",
            "error",
            f"session_replication_role is {server.replication_role}: no trigger checks or logs what is changed",
            f"alter role or database … reset session_replication_role; {_INVALIDATE}",
        )
    if server.is_superuser:
        yield Finding(
            "database",
            "note",
            f"{server.role} is a superuser, which policyd serve never has to be",
            "create role policyd login in role policyd_service",
        )


def _surroundings(config: Config, server: ServerHealth, *, now: float) -> Iterator[Finding]:
    apart = abs(server.clock - now)
    if apart > _CLOCKS_DIFFER:
        yield Finding(
            "database",
            "warning",
            f"the clocks of PostgreSQL and of this host are {apart:.1f} s apart",
            "let NTP set both: the lag of changes is measured with them, and windows of signatures open by them",
        )
    spare = server.max_connections - server.connections
    if spare < max(_SPARE_CONNECTIONS, config.database.connections):
        yield Finding(
            "database",
            "warning",
            f"{server.connections} of {server.max_connections} connections are in use",
            "raise max_connections, or lower database.connections of each process",
        )
    if server.missing_roles:
        yield Finding(
            "database",
            "warning",
            f"there is no role {', '.join(server.missing_roles)}",
            "create it with nologin, then call policy.grant_access()",
        )


def _schema(schema: SchemaHealth, role: str) -> list[Finding]:
    found = []
    if schema.silent_triggers:
        found.append(
            Finding(
                "schema",
                "error",
                f"triggers are switched off: {_some(schema.silent_triggers)}",
                f"alter table policy.… enable trigger all; {_INVALIDATE}",
            )
        )
    if schema.missing_triggers:
        found.append(
            Finding(
                "schema",
                "error",
                f"triggers are gone: {_some(schema.missing_triggers)}",
                "what is changed is neither guarded nor logged: restore the schema from sql/, into a new database, and the rows into it",
            )
        )
    if schema.unreadable:
        found.append(
            Finding(
                "schema",
                "error",
                f"{role} may not read {_some(schema.unreadable)}",
                f"grant policyd_service to {role}; or, if roles were made by hand: call policy.grant_access()",
            )
        )
    return found or [Finding("schema", "ok", "up to date, every table guarded and logged")]


def _tokens(tokens: Sequence[TokenRow], *, now: datetime) -> list[Finding]:
    found = []
    for token in tokens:
        if token.expires_at is None or token.expires_at > now + _SOON:
            continue
        ended = token.expires_at <= now
        when = token.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        found.append(
            Finding(
                "tokens",
                "warning",
                f"token {token.name} {'ended' if ended else 'ends'} {when}",
                "policyd token create NEW, put it where nodes have theirs, then policyd token revoke the old one",
            )
        )
    if not tokens:
        return [
            Finding("tokens", "warning", "there is no token, so nobody can ask", "policyd token create NAME")
        ]
    return found or [Finding("tokens", "ok", f"{len(tokens)}, and none ends within {_SOON.days} days")]


def _nodes(states: Sequence[NodeState]) -> list[Finding]:
    found = []
    for state in states:
        if not state.live:
            found.append(
                Finding(
                    "nodes",
                    "warning",
                    f"{state.node_id} has been silent for {state.silent_for:.0f} s",
                    "look at kumod there; if it is gone for good: policyd nodes forget " + state.node_id,
                )
            )
        elif state.waits_for is not None and state.waits_for > _BEHIND:
            found.append(
                Finding(
                    "nodes",
                    "warning",
                    f"{state.node_id} has not applied what the log has held for {state.waits_for:.0f} s",
                    state.error or "policyd nodes shows what it said last",
                )
            )
    live = sum(state.live for state in states)
    return found or [Finding("nodes", "ok", f"{live} live, none behind")]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
