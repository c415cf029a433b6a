"""
Secrets that are known to the test, and everything that the service says: nothing of the one stands in the other.

New ways to give policyd a secret get a canary here, and new ways to say something a place in `Heard`.
"""

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from policyd.config import ClientConfig, DatabaseConfig
from policyd.errors import ConfigError
from policyd.observe.events import BackendLost, CurrencyLost, CurrencyRegained, DrillBegan, DrillEnded
from policyd.policy.token import Credentials
from policyd.store.pool import Connection
from tests.conftest import TEST_DSN
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.proxy import Proxy, proxying
from tests.integration.wire import wire
from tests.logged import logged

CANARY = "CanarySecret"
GOOD, WRONG, OLD = (f"{CANARY}-{each}-0123456789" for each in ("good", "wrong", "expired"))
PASSWORD, PROXY_PASSWORD = f"{CANARY}-database", f"{CANARY}-proxy"
HOST = "Host: policyd"
AUTHORIZATIONS = [
    f"Bearer node.{GOOD}",
    f"Bearer node.{GOOD}, {GOOD}",
    f"Bearer node.{WRONG}",
    f"Bearer nobody.{WRONG}",
    f"Bearer old.{OLD}",
    f"Bearer status.{GOOD}",
    f"Bearer {GOOD}",
    f"Basic {GOOD}",
    f"Bearer node.{GOOD}\x01",
    f"Bearer node.{GOOD}{'x' * 9000}",
]
REQUESTS = [
    "GET /queue/known.example",
    "GET /queue/known.example",
    "GET /tenant/nobody",
    "GET /egress-pool/odd",
    "GET /names/egress_source",
    "GET /changes",
    "PUT /nodes/mx",
    "POST /batch",
    "DELETE /queue/x",
    "GET /nothing",
    f"GET /queue/x?token={GOOD}",
    f"GET /queue/%zz?token={GOOD}",
    "GET /openapi.json",
    "HEAD /queue-settings",
]


@dataclass(slots=True)
class Heard:
    """What was said, by whom."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, where: str, what: object) -> None:
        self.said.append((where, what.decode() if isinstance(what, bytes) else str(what)))

    def assert_no_canary(self) -> None:
        for where, what in self.said:
            assert CANARY.lower() not in what.lower(), where


def with_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{PASSWORD}@{host}"))


@asynccontextmanager
async def listened_to(dsn: str, db: Connection, heard: Heard) -> AsyncIterator[tuple[Service, Proxy]]:
    """A service full of secrets behind a network that can fail."""
    await make_token(db, f"node.{GOOD}", ("lookup", "status", "admin"))
    await make_token(db, f"status.{GOOD}", ("status",))
    await make_token(db, f"old.{OLD}", ("lookup",))
    await db.execute("update policy.api_token set expires_at = now() where name = 'old'")
    await db.execute("insert into policy.egress_pool (name) values ('odd')")
    async with proxying(with_password(dsn) if not TEST_DSN else dsn) as proxy:
        config = replace(
            make_config(with_password(proxy.dsn) if not TEST_DSN else proxy.dsn, lease=1.0, poll=0.1),
            client=ClientConfig(token=f"client.{GOOD}"),
        )
        heard.hear("configuration", repr(config))
        heard.hear("configuration", f"{config.database} {config.client}")
        async with serving(config, token=f"node.{GOOD}") as service:
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
            yield service, proxy
            heard.hear("observations", service.observations.seen)


async def ask_everything(service: Service, heard: Heard) -> None:
    for authorization in AUTHORIZATIONS:
        for request in REQUESTS:
            body = f'["/queue/x", "{GOOD}' if "batch" in request else f'{{"applied": "{GOOD}"}}'
            async with wire(service.url) as connection:
                reply = await connection.ask(
                    f"{request} HTTP/1.1", HOST, f"Authorization: {authorization}", f"Policy-Node: {GOOD}",
                    f"Content-Length: {len(body)}", body=body.encode(), bodiless="HEAD" in request,
                )  # fmt: skip
                heard.hear(
                    f"{request} with {authorization}", f"{reply.status} {reply.headers} {reply.body!r}"
                )
    for path in (
        "/metrics",
        "/readyz?verbose",
        "/livez",
        "/explain/queue/known.example",
        "/explain/egress-pool/odd",
        "/explain/shaping/known.example?source=odd",
        "/explain/smtp-auth/odd?peer=192.0.2.1",
        "/explain/dkim/known.example/s1",
    ):
        for authorization in AUTHORIZATIONS[:7]:
            async with wire(service.admin_url) as connection:
                reply = await connection.ask(f"GET {path} HTTP/1.1", HOST, f"Authorization: {authorization}")
                heard.hear(path, f"{reply.headers} {reply.body!r}")


async def hear_tables(db: Connection, heard: Heard) -> None:
    tables = await db.fetch("select relname from pg_class where relnamespace = 'policy'::regnamespace and relkind in ('r', 'v', 'm', 'p')")  # fmt: skip
    assert {"api_token", "change", "revision", "node", "egress_source"} <= {row["relname"] for row in tables}
    for row in tables:
        for (text,) in await db.fetch(f"select each::text from policy.{row['relname']} each"):
            heard.hear(f"table {row['relname']}", text)
    for (text,) in await db.fetch("select application_name || query from pg_stat_activity"):
        heard.hear("pg_stat_activity", text)


def hear_objects(heard: Heard) -> None:
    gc.unfreeze()
    for each in gc.get_objects():
        if str(type(each).__module__).startswith("policyd."):
            heard.hear(type(each).__qualname__, repr(each))


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_canary_is_heard_from_a_service_through_good_and_bad_times(
    dsn: str, db: Connection, form: Literal["text", "json"]
) -> None:
    heard = Heard()
    with logged("debug", form) as written:
        async with listened_to(dsn, db, heard) as (service, proxy):
            await ask_everything(service, heard)
            hear_objects(heard)

            # A body that the resolver cannot make anything of is a mistake of ours, and a 500.
            await db.execute("alter view policy.egress_pool_document rename to genuine")
            await db.execute("create view policy.egress_pool_document as select tag, body - 'entries' as body from policy.genuine")  # fmt: skip
            await db.execute("update policy.api_token set domains = '{example.com}' where name = 'node'")
            await db.execute("insert into policy.egress_pool (name) values ('odder')")
            await service.reach(await head(db))
            assert (await service.get("/egress-pool/odder"))[0] == 500
            await ask_everything(service, heard)

            before = len(service.observations.seen)
            await db.execute("insert into policy.drill (until) values (now() + interval '1 h')")
            await service.observations.wait_for(lambda seen: isinstance(seen, DrillBegan))
            assert (await service.get("/queue/known.example"))[0] == 503
            await ask_everything(service, heard)
            await db.execute("delete from policy.drill")
            await service.observations.wait_for(lambda seen: isinstance(seen, DrillEnded))

            proxy.cut()
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost), after=before)
            await ask_everything(service, heard)
            hear_objects(heard)
            proxy.heal()
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained), after=before)
        logging.getLogger("asyncio").warning("the log is heard")
        await hear_tables(db, heard)
        heard.hear("log", written.getvalue())
    log = written.getvalue()
    for expected in ("token refused", "request failed", "backend lost", "the log is heard"):
        assert expected in log
    assert {"Bearers", "Bearer", "Grant", "DatabaseConfig", "Database"} <= {where for where, _ in heard.said}
    heard.assert_no_canary()


async def test_a_password_that_is_put_where_a_reference_belongs_is_nowhere_afterwards(
    db: Connection, state_directory: Path
) -> None:
    heard = Heard()
    as_json = f'"{PROXY_PASSWORD}"'
    source = "insert into policy.egress_source (name, socks5_proxy_username, socks5_proxy_password) values ('a', 'u', $1)"  # fmt: skip
    for statement, value in [
        (source, as_json),
        (source, f'{{"secret": "{PROXY_PASSWORD} "}}'),
        (source, f'{{"key_data": "{PROXY_PASSWORD}"}}'),
        (
            "insert into policy.egress_source (name, socks5_proxy_server) values ('a', $1)",
            f"u:{PROXY_PASSWORD}@[::1]:1",
        ),
        (
            "insert into policy.egress_source (name, ha_proxy_server) values ('a', $1)",
            f"http://u:{PROXY_PASSWORD}@p:1",
        ),
        (
            "insert into policy.queue (domain, options) values ('a', jsonb_build_object('password', $1::jsonb))",
            as_json,
        ),
    ]:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await db.execute(statement, value)
        heard.hear(statement, f"{refused.value} {refused.value.detail} {refused.value.hint}")
    with pytest.raises(asyncpg.PostgresError):  # whose detail is the row, for the one who wrote it
        await db.execute(
            "insert into policy.api_token (name, sha256, scopes) values ('t', $1, '{lookup}')", PROXY_PASSWORD
        )
    await hear_tables(db, heard)
    logs = list(state_directory.rglob("*.log"))
    assert logs or TEST_DSN
    for log in logs:
        heard.hear(str(log), log.read_text(errors="replace"))
    heard.assert_no_canary()


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:9/policy",
        f"postgresql://u:{PASSWORD}@[::1/policy",
        f"postgresql://u:{PASSWORD}@127.0.0.1:port/policy",
        f"postgresql://u:{PASSWORD}@nowhere.invalid/policy",
        f"postgresql://127.0.0.1:9/policy?password={PASSWORD}&user=u",
        f"postgresql://127.0.0.1:9/policy?sslmode={PASSWORD}",
        f"postgresql://u:{PASSWORD}@127.0.0.1:9/policy?sslmode=verify-full&sslrootcert=/nowhere",
        f"postgresql://u:a/{PASSWORD}@127.0.0.1:9/policy",
        f"postgresql://u:a@{PASSWORD}:{PASSWORD}@127.0.0.1:9/policy",
        f"host=127.0.0.1 user=u password={PASSWORD}",
        f"u:{PASSWORD}@127.0.0.1/policy",
        f"{PASSWORD}",
    ],
)
async def test_a_dsn_that_leads_nowhere_is_not_told_with_its_password(dsn: str) -> None:
    heard = Heard()
    with logged("debug", "text") as written:
        config = replace(make_config(""), database=DatabaseConfig(dsn=dsn, password=PASSWORD))
        heard.hear("configuration", repr(config))
        try:
            async with serving(config) as service:
                await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost))
                async with wire(service.url) as connection:
                    heard.hear("503", (await connection.get("/queue/x")).body)
        except* ConfigError as refused:
            heard.hear("error", "".join(traceback.format_exception(refused)))
            assert "database.dsn cannot be" in heard.said[-1][1]
            assert ("/nowhere" in heard.said[-1][1]) == ("/nowhere" in dsn)
        heard.hear("log", written.getvalue())
    heard.assert_no_canary()


async def test_a_role_that_may_not_log_in_is_told_without_its_password(dsn: str) -> None:
    heard = Heard()
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    wrong = urlunsplit(parts._replace(netloc=f"nobody:{PASSWORD}@{host}"))
    with logged("debug", "json") as written:
        async with serving(make_config(wrong)) as service:
            await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost))
            await asyncio.sleep(0)
        heard.hear("log", written.getvalue())
    assert "nobody" in written.getvalue()
    heard.assert_no_canary()


def test_what_is_made_of_an_authorization_header_does_not_show_it() -> None:
    credentials = Credentials.parse(f"Bearer node.{GOOD}")
    assert credentials is not None
    heard = Heard()
    heard.hear("credentials", repr(credentials))
    heard.assert_no_canary()
    assert credentials.sha256 not in repr(credentials)
