"""Which hosts a DSN names, and who of them is taken."""

import asyncio

import pytest

from policyd.errors import ConfigError, DatabaseUnavailable
from policyd.store import hosts
from policyd.store.hosts import Host, first_of, hosts_of


@pytest.mark.parametrize(
    ("dsn", "environ", "expected"),
    [
        ("postgresql://u:p@db1,db2/policyd", {}, [("db1", 5432), ("db2", 5432)]),
        ("postgresql://u:p@db1:1,[::1]:2,db3/policyd", {}, [("db1", 1), ("::1", 2), ("db3", 5432)]),
        ("postgresql://u@db1,db2/policyd?port=6432", {}, [("db1", 6432), ("db2", 6432)]),
        ("postgresql://u@/p?host=/run/a,/run/b&port=1,2", {}, [("/run/a", 1), ("/run/b", 2)]),
        ("postgresql://u@%2Frun%2Fa,db2/p", {"PGPORT": "7"}, [("/run/a", 7), ("db2", 7)]),
        ("postgresql://", {"PGHOST": "db1,db2", "PGPORT": "1,2"}, [("db1", 1), ("db2", 2)]),
        ("postgresql://u@db1/policyd", {"PGHOST": "db2,db3"}, []),
        ("postgresql://u@/policyd?host=/run/a", {}, []),
        ("postgresql://u@db1:x,db2/policyd", {}, []),
        ("postgresql://u@db1,db2/policyd?port=1,2,3", {}, []),
        ("", {}, []),
    ],
)
def test_hosts_are_read_as_libpq_reads_them_and_one_is_left_to_the_driver(dsn, environ, expected):
    assert list(hosts_of(dsn, environ)) == expected


A, B, C = (Host(name, 5432) for name in "abc")


@pytest.fixture
def dropped() -> list[str]:
    return []


async def test_the_first_that_answers_is_taken_and_nobody_after_it_is_asked(dropped):
    asked = []

    async def dial(host: Host) -> str:
        asked.append(host)
        if host == A:
            raise DatabaseUnavailable("it is a standby", trouble="read-only")
        return host.name

    assert await first_of([A, B, C], dial, dropped.append) == "b"
    assert (asked, dropped) == ([A, B], [])


async def test_a_silent_host_is_overtaken_and_what_it_says_later_is_dropped(dropped, monkeypatch):
    monkeypatch.setattr(hosts, "NEXT_AFTER", 0.01)
    heard = asyncio.Event()

    async def dial(host: Host) -> str:
        if host == A:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.set()
        return host.name

    assert await first_of([A, B], dial, dropped.append) == "b"
    await heard.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert dropped == ["a"]


async def test_when_nobody_can_be_used_each_of_them_says_why(dropped):
    async def dial(host: Host) -> str:
        raise DatabaseUnavailable(f"reason {host.name}", trouble="full" if host == B else "unreachable")

    with pytest.raises(DatabaseUnavailable) as caught:
        await first_of([A, B], dial, dropped.append)
    assert str(caught.value) == "a: reason a; b: reason b"
    assert caught.value.trouble == "full"


async def test_what_is_wrong_with_the_configuration_is_no_reason_to_ask_the_next(dropped):
    async def dial(host: Host) -> str:
        raise ConfigError("database.dsn cannot be read")

    with pytest.raises(ConfigError):
        await first_of([A, B], dial, dropped.append)
