"""Where passwords and their hashes are not: everywhere but in the request and in one column."""

import contextlib
import gc
import logging
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.errors import Conflict
from policyd.observe.events import CurrencyRegained
from policyd.operate.credentials import change_password, create_credential
from policyd.policy.credential import Attempt
from policyd.store.pool import Connection
from policyd.units import Address
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.test_smtp_auth import PASSWORD, log_in, make_customer
from tests.integration.wire import BEARER, assert_problem, wire

CANARY = "canary-9f31-password"
WRONG = "canary-77aa-guess"
WORDS = ("canary", "argon2id$")

EVERYTHING = """
select c.oid::regclass::text as name from pg_class c
where c.relnamespace = 'policy'::regnamespace and c.relkind in ('r', 'v')
  and c.relname not in ('smtp_credential', 'smtp_credential_document')
"""


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that anybody logs meanwhile, with all that belongs to it."""
    written: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(f"{record.getMessage()} {record.__dict__}")

    handler, root, ours = Collecting(), logging.getLogger(), logging.getLogger("policyd")
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


async def test_a_password_and_its_hash_are_nowhere_but_in_their_column(
    service: Service,
    db: Connection,
    lines: list[str],
    state_directory: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    await db.execute("insert into policy.tenant (name) values ('acme')")
    await create_credential(db, "alice", CANARY, tenant="acme")
    await change_password(db, "alice", CANARY + "!")
    with pytest.raises(Conflict) as taken:
        await create_credential(db, "Alice", CANARY, tenant="acme")
    with pytest.raises(Conflict) as nobody:
        await create_credential(db, "bob", CANARY, tenant="nobody")
    with pytest.raises(Conflict) as odd:
        await create_credential(db, "a:b", CANARY, tenant="acme")
    said = [f"{caught.value} {caught.value!r} {caught.value.__cause__}" for caught in (taken, nobody, odd)]

    await service.reach(await head(db))
    for username, password in (
        ("alice", CANARY + "!"), ("alice", CANARY + "!"), ("alice", WRONG), (WRONG, WRONG), ("alice", WRONG * 500), (WRONG * 50, ""),
    ):  # fmt: skip
        said.append(repr((await log_in(service, username, password))[1:]))
    said += [repr(await service.post("/smtp-auth", body)) for body in (
        {"username": WRONG}, {WRONG: WRONG}, [WRONG], WRONG, {"username": "a", "password": [WRONG], "peer": WRONG},
        {"username": WRONG, "password": WRONG, "peer": WRONG},
    )]  # fmt: skip
    async with service.session.get(f"{service.admin_url}/metrics") as response:
        said.append(await response.text())
    async with service.session.get(f"{service.admin_url}/explain/smtp-auth") as response:
        said.append(await response.text())
    said += [
        repr((await service.get(path))[1])
        for path in ("/changes", "/names/smtp_credential", "/names/webhook")
    ]
    said += [repr(service.observations.seen), *lines, *capfd.readouterr()]
    for table in [row["name"] for row in await db.fetch(EVERYTHING)]:
        said += [row[0] for row in await db.fetch(f"select t::text from {table} as t")]
    log = state_directory / "session" / "postgresql.log"
    if log.exists():
        said.append(log.read_text(errors="replace"))

    assert "alice" in "".join(said)
    # A username that is no credential's is known to its sender, in the tag of the answer, and to nobody else.
    told = [text.replace(f"smtp_credential/{WRONG}", "") for text in said]
    assert [text[:500] for text in told if any(word in text for word in WORDS)] == []
    assert (
        await db.fetchval(
            "select count(*) from policy.smtp_credential where password_hash like '$argon2id$%'"
        )
        == 1
    )


async def test_an_error_of_ours_says_nothing_of_the_password_that_it_met(
    service: Service, db: Connection, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_customer(db)
    await service.reach(await head(db))

    def broken(_: Attempt) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(Attempt, "is_possible", property(broken))
    status, problem, _ = await log_in(service, "alice", CANARY)
    assert (status, set(problem)) == (500, {"type", "title", "status", "request_id"})
    assert any(problem["request_id"] in line for line in lines)
    assert CANARY not in "".join(lines)


async def test_no_password_stays_in_memory_once_it_is_answered(service: Service, db: Connection) -> None:
    await make_customer(db)
    await service.reach(await head(db))
    await log_in(service, "alice", WRONG)
    await log_in(service)
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Attempt)]
    assert kept == []


def own_address() -> str | None:
    """An address of this machine that is none of its loopback interface; None where there is none."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


@contextlib.asynccontextmanager
async def serving_at(dsn: str, host: str, **lookup: object) -> AsyncIterator[Service]:
    config = make_config(dsn)
    config = replace(config, lookup=replace(config.lookup, listen=Address(host, 0), **lookup))  # type: ignore[arg-type]  # of the test's own
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        yield service


needs_an_address = pytest.mark.skipif(
    own_address() is None, reason="this machine has no address but loopback's"
)


@needs_an_address
async def test_a_password_over_plain_http_from_another_machine_is_refused(dsn: str, db: Connection) -> None:
    await make_token(db)
    await make_customer(db)
    host = own_address()
    assert host is not None
    async with serving_at(dsn, host) as service, wire(service.url) as connection:
        body = f'{{"username": "alice", "password": "{PASSWORD}", "peer": "192.0.2.1"}}'.encode()
        reply = await connection.ask(
            "POST /smtp-auth HTTP/1.1", "Host: policyd", BEARER, f"Content-Length: {len(body)}", body=body
        )
        assert_problem(reply, 403, "plaintext")
        assert (await service.get("/queue-settings"))[0] == 200
    async with serving_at(dsn, host, allow_plaintext_secrets=True) as service:
        assert (await log_in(service))[1]["authenticated"]


@needs_an_address
async def test_over_tls_it_is_answered_to_everybody_with_a_token(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    await make_token(db)
    await make_customer(db)
    host = own_address()
    assert host is not None
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    openssl = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=policyd",
    )
    try:
        subprocess.run(
            [*openssl, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not there to make a certificate with")
    os.chmod(key, 0o600)  # noqa: PTH101
    tls = ssl.create_default_context(cafile=str(certificate))
    tls.check_hostname = False
    async with (
        serving_at(dsn, host, tls_cert=certificate, tls_key=key) as service,
        wire(service.url, tls) as connection,
    ):
        body = f'{{"username": "alice", "password": "{PASSWORD}", "peer": "192.0.2.1"}}'.encode()
        reply = await connection.ask(
            "POST /smtp-auth HTTP/1.1", "Host: policyd", BEARER, f"Content-Length: {len(body)}", body=body
        )
        assert (reply.status, reply.json["authenticated"]) == (200, True)
