"""
Several hosts in one DSN: the first that takes writes is used, and one that says nothing keeps nobody from the next.

asyncpg asks one host after the other within one deadline. A machine that lost its power answers nothing, so that its
successor in the list would never be asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from policyd.errors import DatabaseUnavailable

C = TypeVar("C")

NEXT_AFTER: Final = 0.3
"""Seconds after which the next host is asked as well. Whoever of them comes first is taken."""


class Host(NamedTuple):
    """Where a server may be: a name, an address, or the directory of a socket."""

    name: str
    port: int


def hosts_of(dsn: str, environ: Mapping[str, str]) -> tuple[Host, ...]:
    """
    The hosts that *dsn* names, or PGHOST where it names none, as libpq reads them.

    Empty where there is one host or none, and where what is written cannot be read: then the driver is to decide.
    """
    parts = urlsplit(dsn)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    in_netloc = parts.netloc.rpartition("@")[2]
    written = in_netloc or query.get("host") or environ.get("PGHOST", "")
    names = written.split(",")
    if len(names) < 2:
        return ()
    ports = (query.get("port") or environ.get("PGPORT", "") or "5432").split(",")
    try:
        return tuple(
            _host(name, port, unquoted=bool(in_netloc))
            for name, port in zip(names, ports * len(names) if len(ports) == 1 else ports, strict=True)
        )
    except ValueError:
        return ()


def _host(text: str, port: str, *, unquoted: bool) -> Host:
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        own = rest.removeprefix(":")
    elif text.startswith("/"):
        name, own = text, ""
    else:
        name, _, own = text.partition(":")
    return Host(unquote(name) if unquoted else name, int(own or port))


async def first_of(
    hosts: Sequence[Host], dial: Callable[[Host], Awaitable[C]], drop: Callable[[C], None]
) -> C:
    """
    What *dial* makes of the first of *hosts* with which it succeeds; others that succeed meanwhile are dropped.

    Hosts are dialled in their order, the next one when the one before has failed or is silent for `NEXT_AFTER`. When
    all have failed, DatabaseUnavailable says why each of them did; other errors are raised at once.
    """
    waiting = list(hosts)
    dialled: dict[asyncio.Task[C], Host] = {}
    failures: dict[Host, DatabaseUnavailable] = {}
    try:
        while waiting or dialled:
            if waiting:
                host = waiting.pop(0)
                dialled[asyncio.create_task(_dialled(dial, host))] = host
            done, _ = await asyncio.wait(
                dialled, timeout=NEXT_AFTER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in [task for task in dialled if task in done]:
                host = dialled.pop(task)
                try:
                    return task.result()
                except DatabaseUnavailable as error:
                    failures[host] = error
    finally:
        for task in dialled:
            task.add_done_callback(lambda late: _drop(late, drop))
            task.cancel()
    said = "; ".join(f"{host.name}: {failures[host]}" for host in hosts)
    raise DatabaseUnavailable(
        said, trouble=failures[hosts[-1]].trouble, hint=failures[hosts[-1]].hint
    ) from failures[hosts[-1]]


async def _dialled(dial: Callable[[Host], Awaitable[C]], host: Host) -> C:
    return await dial(host)


def _drop(late: "asyncio.Task[C]", drop: Callable[[C], None]) -> None:
    """Let go of a connection that nobody waits for any more, and of why there is none."""
    if not late.cancelled() and late.exception() is None:
        drop(late.result())
