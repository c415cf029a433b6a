"""POST /smtp-auth over real HTTP: who is let in, who is not, and what is nobody's business."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from policyd.config import AuthConfig, Config
from policyd.observe.events import AuthAttempted, AuthLimited, CurrencyRegained
from policyd.passwords import hash_password
from policyd.store.pool import Connection
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.wire import BEARER, assert_problem, wire

PASSWORD = "correct horse battery staple"
HASH = hash_password(PASSWORD)
PEER = "192.0.2.1"


async def make_customer(db: Connection, username: str = "alice", **columns: Any) -> None:
    """A credential for tenant acme with the password of these tests."""
    await db.execute("insert into policy.tenant (name) values ('acme') on conflict do nothing")
    await db.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant) values ($1, $2, 'acme')",
        username,
        HASH,
    )
    for column, value in columns.items():
        await db.execute(
            f"update policy.smtp_credential set {column} = {value} where username = $1", username
        )


async def log_in(
    service: Service, username: str = "alice", password: str = PASSWORD, peer: str = PEER, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    return await service.post(
        "/smtp-auth", {"username": username, "password": password, "peer": peer}, **headers
    )


async def let_in(service: Service, *attempt: str, **headers: str) -> bool:
    """Whether the service says yes or no; it must say one of them."""
    status, body, _ = await log_in(service, *attempt, **headers)
    assert status == 200, body
    answer: bool = body["authenticated"]
    return answer


def outcomes(service: Service) -> list[str]:
    return [seen.outcome for seen in service.observations.seen if isinstance(seen, AuthAttempted)]


@contextlib.asynccontextmanager
async def authenticating(dsn: str, db: Connection, **auth: Any) -> AsyncIterator[Service]:
    await make_token(db)
    config: Config = replace(make_config(dsn), auth=replace(AuthConfig(), **auth))
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        yield service


async def test_a_right_password_is_checked_once_and_remembered(service: Service, db: Connection) -> None:
    await make_customer(db)
    position = await head(db)
    status, body, headers = await log_in(service, Policy_Position=position)
    assert (status, body) == (
        200, {"authenticated": True, "username": "alice", "tenant": "acme", "tags": ["smtp_credential/alice"]},
    )  # fmt: skip
    assert (headers["Policy-Position"], headers["Cache-Control"]) == (position, "no-store")
    assert await let_in(service)
    assert await let_in(service, "alice", PASSWORD, "2001:db8::1")
    assert outcomes(service) == ["verified", "remembered", "remembered"]


async def test_each_way_not_to_be_let_in_is_the_same_answer_and_another_outcome(
    service: Service, db: Connection
) -> None:
    await make_customer(db)
    await make_customer(db, "off", enabled="false")
    await make_customer(db, "over", expires_at="now() - interval '1 s'")
    await make_customer(db, "home", networks="'{10.0.0.0/8}'")
    await service.reach(await head(db))
    for username, password, outcome in (
        ("alice", "wrong", "wrong"),
        ("nobody", PASSWORD, "unknown"),
        ("ALICE", PASSWORD, "unknown"),
        ("off", PASSWORD, "disabled"),
        ("off", "wrong", "wrong"),
        ("over", PASSWORD, "expired"),
        ("home", PASSWORD, "network"),
        ("", PASSWORD, "impossible"),
        ("a" * 1000, PASSWORD, "impossible"),
        ("a\0", PASSWORD, "impossible"),
        ("alice", "", "impossible"),
        ("alice", "p" * 10_000, "impossible"),
        ("alice", PASSWORD + "\0", "impossible"),
        ("'; drop table policy.tenant; --", PASSWORD, "unknown"),
        ("%2F/../%00", PASSWORD, "unknown"),
        ("名前🔑", PASSWORD, "unknown"),
    ):
        status, body, _ = await log_in(service, username, password)
        assert (status, body["authenticated"], set(body)) == (200, False, {"authenticated", "tags"}), username
        assert outcomes(service)[-1] == outcome, username


@pytest.mark.parametrize(
    "change",
    [
        "update policy.smtp_credential set enabled = false",
        "update policy.smtp_credential set expires_at = now()",
        "update policy.smtp_credential set networks = '{10.0.0.0/8}'",
        "delete from policy.smtp_credential",
        f"update policy.smtp_credential set password_hash = '{hash_password('another one')}'",
        "update policy.smtp_credential set username = 'bob'",
    ],
)
async def test_a_change_is_felt_by_the_next_login_of_somebody_who_is_remembered(
    service: Service, db: Connection, change: str
) -> None:
    await make_customer(db)
    assert await let_in(service, Policy_Position=await head(db))
    assert await let_in(service)
    await db.execute(change)
    assert not await let_in(service, Policy_Position=await head(db))


async def test_what_does_not_touch_a_credential_costs_no_second_check(
    service: Service, db: Connection
) -> None:
    await make_customer(db)
    await make_customer(db, "bob")
    assert await let_in(service, Policy_Position=await head(db))
    await db.execute(
        "delete from policy.smtp_credential where username = 'bob'; insert into policy.tenant (name) values ('x')"
    )
    assert await let_in(service, Policy_Position=await head(db))
    assert outcomes(service) == ["verified", "remembered"]


async def test_a_renamed_tenant_is_who_they_send_for_at_once(service: Service, db: Connection) -> None:
    await make_customer(db)
    await let_in(service, Policy_Position=await head(db))
    await db.execute("update policy.tenant set name = 'apex'")
    assert (await log_in(service, Policy_Position=await head(db)))[1]["tenant"] == "apex"


async def test_who_is_remembered_is_not_let_in_after_the_end(service: Service, db: Connection) -> None:
    await make_customer(db, expires_at="now() + interval '1.2 s'")
    status, body, _ = await log_in(service, Policy_Position=await head(db))
    assert (status, body["authenticated"]) == (200, True)
    assert isinstance(body["valid_until"], int)
    async with asyncio.timeout(5):
        while await let_in(service):
            pass
    assert outcomes(service)[-1] == "expired"


async def test_a_right_password_from_elsewhere_is_not_remembered_as_one(
    service: Service, db: Connection
) -> None:
    await make_customer(db, networks="'{10.0.0.0/8}'")
    assert not await let_in(service, "alice", PASSWORD, PEER, Policy_Position=await head(db))
    assert not await let_in(service)
    assert await let_in(service, "alice", PASSWORD, "10.1.2.3")
    assert not await let_in(service)
    assert outcomes(service) == ["network", "network", "verified", "network"]


async def test_many_logins_of_one_customer_at_once_are_one_check(service: Service, db: Connection) -> None:
    await make_customer(db)
    await service.reach(await head(db))
    assert all(await asyncio.gather(*(let_in(service) for _ in range(50))))
    assert set(outcomes(service)) <= {"verified", "remembered"}


async def test_guessing_is_told_to_come_later_and_nobody_else_is(dsn: str, db: Connection) -> None:
    async with authenticating(dsn, db, failures=5) as service:
        for username in ("alice", "bob", "carol"):
            await make_customer(db, username)
        assert await let_in(service, "bob", Policy_Position=await head(db))
        for _ in range(5):
            assert not await let_in(service, "alice", "a guess")
        status, problem, headers = await log_in(service, "alice", "a guess")
        assert (status, problem["type"], headers["Retry-After"]) == (
            429,
            "urn:policyd:problem:too-many-failures",
            "60",
        )
        # Not even the right one is looked at: else guessing would go on, only slower.
        assert (await log_in(service, "alice"))[0] == 429
        assert await let_in(service, "alice", PASSWORD, "198.51.100.1")
        assert await let_in(service, "bob")
        assert await let_in(service, "carol")
        # Whoever has been let in is known, and no failure of others matters.
        assert await let_in(service, "alice")
        (limited, *_) = [seen for seen in service.observations.seen if isinstance(seen, AuthLimited)]
        assert limited == AuthLimited(network="192.0.2.0/24")


async def test_a_flood_of_wrong_passwords_is_no_failure_of_anybody_else(dsn: str, db: Connection) -> None:
    async with authenticating(dsn, db, max_waiting=8) as service:
        customers = [f"customer{number}" for number in range(6)]
        for username in ("known", *customers):
            await make_customer(db, username)
        assert await let_in(service, "known", Policy_Position=await head(db))
        flood = [
            asyncio.create_task(log_in(service, f"{user}{number}", f"guess {number}", f"203.0.113.{number}"))
            for number in range(100)
            for user in ("known", "nobody")
        ]
        flood += [
            asyncio.create_task(log_in(service, "known", f"guess {number}", "203.0.113.7"))
            for number in range(100)
        ]
        await asyncio.sleep(0.05)  # until the queue is full
        others = [
            let_in(service, username, PASSWORD, f"198.51.{number}.1")
            for number, username in enumerate(customers)
        ]
        assert all(
            await asyncio.gather(
                let_in(service, "known"), let_in(service, "known", PASSWORD, "203.0.113.9"), *others
            )
        )
        answers = [(status, body.get("authenticated")) for status, body, _ in await asyncio.gather(*flood)]
        assert set(answers) <= {(200, False), (429, None), (503, None)}
        assert (503, None) in answers
        assert {"limited", "overloaded"} <= set(outcomes(service))


async def test_a_full_queue_is_never_a_no(dsn: str, db: Connection) -> None:
    async with authenticating(dsn, db, threads=1, max_waiting=2) as service:
        for number in range(20):
            await make_customer(db, f"customer{number}")
        await service.reach(await head(db))
        everybody = [
            log_in(service, f"customer{number}", PASSWORD, f"10.0.{number}.1") for number in range(20)
        ]
        answers = await asyncio.gather(*everybody)
        assert {(status, body.get("authenticated")) for status, body, _ in answers} == {
            (200, True),
            (503, None),
        }
        refused = next((body, headers) for status, body, headers in answers if status == 503)
        assert (refused[0]["type"], refused[1]["Retry-After"]) == ("urn:policyd:problem:overloaded", "1")
        # What was not looked at is not counted: whoever comes again is let in.
        for number in range(20):
            assert await let_in(service, f"customer{number}", PASSWORD, f"10.0.{number}.1")


async def test_a_token_needs_the_scope(service: Service, db: Connection) -> None:
    await make_token(db, "other.abcdefghij0123456789", ("lookup", "status", "admin"))
    await make_customer(db)
    position = await head(db)
    assert await let_in(service, Policy_Position=position)
    status, problem, _ = await log_in(service, Authorization="Bearer other.abcdefghij0123456789")
    assert (status, problem["detail"]) == (403, "token other does not allow this: scope auth is needed")
    assert (await log_in(service, Authorization="Bearer nobody.abcdefghij0123456789"))[0] == 401
    assert len(outcomes(service)) == 1


@pytest.mark.parametrize(
    ("line", "body", "status", "slug"),
    [
        ("POST /smtp-auth", b"{", 400, "bad-request"),
        ("POST /smtp-auth", b"canary", 400, "bad-request"),
        ("POST /smtp-auth", b"[]", 400, "lookup-invalid"),
        ("POST /smtp-auth", b'{"username": "canary", "password": "canary"}', 400, "lookup-invalid"),
        (
            "POST /smtp-auth",
            b'{"username": "a", "password": "b", "peer": "::1", "canary": "c"}',
            400,
            "lookup-invalid",
        ),
        ("POST /smtp-auth", b'{"username": "a", "password": 4711, "peer": "::1"}', 400, "lookup-invalid"),
        ("POST /smtp-auth", b'{"username": "a", "password": null, "peer": "::1"}', 400, "lookup-invalid"),
        ("POST /smtp-auth", b'{"username": "a", "password": "\\ud800", "peer": "::1"}', 400, "bad-request"),
        ("POST /smtp-auth", b'{"username": "a", "password": "b", "peer": "canary"}', 400, "lookup-invalid"),
        (
            "POST /smtp-auth?canary=1",
            b'{"username": "a", "password": "b", "peer": "::1"}',
            400,
            "lookup-invalid",
        ),
        ("POST /smtp-auth", b'{"password": "' + b"c" * 70_000, 413, "too-large"),
        ("GET /smtp-auth", b"", 405, "wrong-method"),
        ("PUT /smtp-auth", b"{}", 405, "wrong-method"),
        ("POST /smtp-auth/canary", b"{}", 404, "no-route"),
    ],
)
async def test_what_is_no_attempt_is_a_problem_and_counted_against_nobody(
    service: Service, line: str, body: bytes, status: int, slug: str
) -> None:
    async with wire(service.url) as connection:
        reply = await connection.ask(
            f"{line} HTTP/1.1", "Host: policyd", BEARER, f"Content-Length: {len(body)}", body=body
        )
    assert_problem(reply, status, slug)
    assert b"canary" not in reply.body or "?canary" in line
    assert outcomes(service) == []


async def test_it_is_not_to_be_had_in_a_batch(service: Service) -> None:
    _, answers, _ = await service.post("/batch", ["/smtp-auth", "/smtp-auth?username=a"])
    assert [answer["status"] for answer in answers] == [404, 404]


async def test_every_outcome_is_counted_and_nobody_is_named(service: Service, db: Connection) -> None:
    await make_customer(db)
    assert await let_in(service, Policy_Position=await head(db))
    assert not await let_in(service, "alice", "canary")
    async with service.session.get(service.admin_url + "/metrics") as response:
        page = await response.text()
    for outcome, count in {
        "verified": 1,
        "wrong": 1,
        "remembered": 0,
        "limited": 0,
        "overloaded": 0,
        "unavailable": 0,
    }.items():
        assert f'policyd_auth_attempts_total{{outcome="{outcome}"}} {count}.0' in page
    assert "alice" not in page
    assert "canary" not in page
