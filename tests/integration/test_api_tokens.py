"""Who may ask: every request is judged, hits too, and what it is told gives nothing away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from policyd.config import DatabaseConfig
from policyd.policy.token import hash_secret
from policyd.store.pool import Connection
from tests.conftest import Postgres
from tests.integration.conftest import TOKEN, Service, make_config, serving, serving_rows
from tests.integration.wire import BEARER, Reply, Wire, assert_problem, wire

HOST = "Host: policyd"
SECRET = "0123456789abcdefghij"
ROWS = f"""
    insert into policy.api_token (name, sha256, scopes, networks, expires_at) values
      ('late', '{hash_secret(SECRET)}', '{{lookup}}', null, now() - interval '1 second'),
      ('soon', '{hash_secret(SECRET)}', '{{lookup}}', null, now() + interval '1 hour'),
      ('elsewhere', '{hash_secret(SECRET)}', '{{lookup}}', '{{192.0.2.0/24, 2001:db8::/32, ::1}}', null),
      ('here', '{hash_secret(SECRET)}', '{{lookup}}', '{{192.0.2.0/24, 127.0.0.1}}', null),
      ('node', '{hash_secret(SECRET)}', '{{status}}', null, null),
      ('keys', '{hash_secret(SECRET)}', '{{dkim}}', null, null);
"""
read_only = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens(postgres: Postgres) -> AsyncIterator[Service]:
    async with serving_rows(postgres, ROWS) as running_service:
        yield running_service


async def ask(connection: Wire, token: str, line: str = "GET /queue-settings") -> Reply:
    return await connection.ask(
        f"{line} HTTP/1.1", HOST, f"Authorization: Bearer {token}", "Content-Length: 2", body=b"[]"
    )


@read_only
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {SECRET}",
        f"Bearer test.{SECRET}x",
        f"Bearer test.{SECRET[:-1]}",
        f"Bearer Test.{SECRET}",
        f"Bearer nobody.{SECRET}",
        f"Bearer test.{SECRET}.{SECRET}",
        f"Bearer {'n' * 65}.{SECRET}",
        f"Bearer test.{'s' * 129}",
        "Bearer test.short",
        f"Bearer test/{SECRET}",
        f"Bearer test.{SECRET}, Bearer test.{SECRET}",
        f"Token test.{SECRET}",
        "Basic dGVzdDowMTIzNDU2Nzg5YWJjZGVmZ2hpag==",
        f"Bearer\ttest.{SECRET}",
        "Bearer tést.0123456789abcdefghij",
        f"Bearer late.{SECRET}",
    ],
)
async def test_a_request_without_a_good_token_is_401_and_the_connection_goes_on(
    tokens: Service, header: str
) -> None:
    async with wire(tokens.url) as connection:
        for path in ("/queue-settings", "/queue/x", "/names/queue", "/changes"):
            reply = await connection.ask(f"GET {path} HTTP/1.1", HOST, f"Authorization: {header}")
            assert_problem(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"] == 'Bearer realm="policyd"'
        assert (await connection.ask("GET /queue-settings HTTP/1.1", HOST, BEARER)).status == 200
        bare = await connection.ask("GET /queue-settings HTTP/1.1", HOST)
        assert_problem(bare, 401, "unauthorized")


@read_only
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER ", " Bearer  "])
async def test_the_scheme_is_read_as_http_has_it(tokens: Service, scheme: str) -> None:
    async with wire(tokens.url) as connection:
        for _ in range(2):
            reply = await connection.ask(
                "GET /queue-settings HTTP/1.1", HOST, f"Authorization: {scheme} {TOKEN} "
            )
            assert reply.status == 200


@read_only
@pytest.mark.parametrize(
    ("token", "line", "status"),
    [
        ("soon", "GET /queue-settings", 200),
        ("soon", "POST /batch", 200),
        ("soon", "PUT /nodes/n", 403),
        ("node", "GET /queue-settings", 403),
        ("node", "GET /changes", 403),
        ("node", "GET /names/queue", 403),
        ("node", "POST /batch", 403),
        ("keys", "GET /queue/x", 403),
        ("here", "GET /queue-settings", 200),
        ("elsewhere", "GET /queue-settings", 403),
        ("elsewhere", "GET /openapi.json", 200),
        ("late", "GET /openapi.json", 200),
    ],
)
async def test_a_token_is_good_for_its_scopes_and_networks_alone(
    tokens: Service, token: str, line: str, status: int
) -> None:
    async with wire(tokens.url) as connection:
        await connection.ask("GET /queue-settings HTTP/1.1", HOST, BEARER)
        for _ in range(2):
            reply = await ask(connection, f"{token}.{SECRET}", line)
            if status == 200:
                assert reply.status == 200
            else:
                assert_problem(reply, status, "forbidden")
                assert token in reply.json["detail"]


@read_only
async def test_unknown_names_wrong_secrets_and_names_without_rows_are_told_the_same(tokens: Service) -> None:
    async with wire(tokens.url) as connection:
        wrong = await ask(connection, f"test.{SECRET}x")
        unknown = await ask(connection, f"nobody.{SECRET}")
    assert wrong.json == unknown.json


async def test_a_changed_row_soon_counts_for_hits_too(service: Service, db: Connection) -> None:
    async with wire(service.url) as connection:
        for change, status, slug in [
            ("scopes = '{status}'", 403, "forbidden"),
            ("scopes = '{lookup}', networks = '{192.0.2.0/24}'", 403, "forbidden"),
            ("networks = null, expires_at = now() - interval '1 s'", 401, "unauthorized"),
            (f"expires_at = null, sha256 = '{hash_secret('x' * 20)}'", 401, "unauthorized"),
        ]:
            for _ in range(2):
                assert (await connection.get("/queue-settings")).status == 200
            await db.execute(f"update policy.api_token set {change} where name = 'test'")
            async with asyncio.timeout(5):
                while (reply := await connection.get("/queue-settings")).status == 200:
                    pass
            assert_problem(reply, status, slug)
            await db.execute(
                "update policy.api_token set scopes = '{lookup}', networks = null, expires_at = null, sha256 = $1",
                hash_secret(SECRET),
            )
            async with asyncio.timeout(5):
                while (await connection.get("/queue-settings")).status != 200:
                    pass


async def test_a_token_s_time_ends_between_two_hits(service: Service, db: Connection) -> None:
    await db.execute("update policy.api_token set expires_at = now() + interval '700 ms'")
    async with wire(service.url) as connection:
        async with asyncio.timeout(5):
            while (reply := await connection.get("/queue-settings")).status == 200:
                pass
        assert_problem(reply, 401, "unauthorized")
        assert "expired" in reply.json["detail"]


async def test_before_the_database_was_ever_reached_nobody_s_token_is_wrong(dsn: str) -> None:
    del dsn
    config = replace(make_config(""), database=DatabaseConfig(dsn="postgresql://policyd@127.0.0.1:9/policyd"))
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "BackendLost")
        async with wire(service.url) as connection:
            for path in ("/queue/x", "/changes", "/names/queue"):
                reply = await connection.get(path)
                assert_problem(reply, 503, "unavailable")
                assert int(reply.headers["retry-after"]) >= 1
            assert_problem(await connection.ask("GET /queue/x HTTP/1.1", HOST), 401, "unauthorized")
        async with wire(service.admin_url) as connection:
            assert (await connection.get("/livez")).status == 200
            ready = await connection.get("/readyz")
            assert (ready.status, ready.json) == (503, {"ready": False})


async def test_without_tokens_everyone_on_this_machine_may_ask(dsn: str) -> None:
    config = make_config(dsn)
    async with serving(
        replace(config, lookup=replace(config.lookup, require_tokens=False)), token=None
    ) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        async with wire(service.url) as connection:
            for header in ("Authorization: Basic eDp5", "X: y"):
                reply = await connection.ask("GET /queue-settings HTTP/1.1", HOST, header)
                assert reply.status == 200
