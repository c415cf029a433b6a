"""`policyd doctor`: what is wrong is found, said with what to do, and nothing else is called wrong."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from policyd.cli.main import policyd
from policyd.config import Config, KeyRootConfig
from policyd.errors import DatabaseUnavailable
from policyd.operate.doctor import examine
from policyd.operate.finding import Finding
from policyd.policy.token import hash_secret
from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import make_config, make_token
from tests.integration.vault.servers import doubled
from tests.unit.keys.pems import ed25519_pem, rsa_pem

CANARY = "canary-4711"


async def examined(config: Config, *, most_keys: int = 1000) -> list[Finding]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with connection_to(config.database.dsn) as connection:
            yield connection

    return [finding async for finding in examine(config, connect, most_keys=most_keys)]


def found(findings: list[Finding], area: str) -> list[Finding]:
    return [finding for finding in findings if finding.area == area]


def the_only(findings: list[Finding], area: str) -> Finding:
    (finding,) = found(findings, area)
    return finding


async def sign(db: Connection, domain: str, *, algorithm: str = "sha256", root: str | None = None) -> None:
    await db.execute(
        "insert into policy.dkim_domain (domain, selector, algorithm, key_root) values ($1, 's1', $2, $3)",
        domain,
        algorithm,
        root,
    )


def keep(directory: Path, domain: str, pem: bytes) -> None:
    (directory / domain).mkdir()
    file = directory / domain / "s1.key"
    file.touch(mode=0o600)
    file.write_bytes(pem)


async def test_where_all_is_well_nothing_is_called_wrong(dsn, db, key_directory):
    await make_token(db)
    await sign(db, "a.example")
    keep(key_directory, "a.example", rsa_pem())
    findings = await examined(make_config(dsn, keys=key_directory))
    assert {finding.severity for finding in findings} == {"ok", "note"}, (
        findings
    )  # the tests' user is a superuser
    assert the_only(findings, "keys").says == "every private key that rows name is there and fits (1)"
    assert the_only(findings, "schema").severity == "ok"


async def test_a_trigger_that_is_off_or_gone_is_found(dsn, db):
    await db.execute("alter table policy.tenant disable trigger t500_log_update")
    await db.execute("drop trigger t300_guard_delete on policy.queue")
    off, gone = found(await examined(make_config(dsn)), "schema")
    assert "tenant.t500_log_update" in off.says
    assert "policy.invalidate" in (off.next_step or "")
    assert "queue.t300_guard_delete" in gone.says
    assert off.severity == gone.severity == "error"


async def test_a_schema_that_is_older_than_this_policyd_is_found(empty_dsn):
    (error,) = [each for each in await examined(make_config(empty_dsn)) if each.severity == "error"]
    assert error.area == "database"
    assert error.next_step == "run policyd migrate"


async def test_tokens_that_end_soon_or_have_ended_are_found_and_no_others(dsn, db):
    now = datetime.now(UTC)
    for name, end in (("gone", -1), ("soon", 5), ("later", 90), ("never", None)):
        await db.execute(
            "insert into policy.api_token (name, sha256, scopes, expires_at) values ($1, $2, '{lookup}', $3)",
            name,
            hash_secret(CANARY + name),
            None if end is None else now + timedelta(days=end),
        )
    findings = found(await examined(make_config(dsn)), "tokens")
    assert [finding.says.split()[1:3] for finding in findings] == [["gone", "ended"], ["soon", "ends"]]
    assert CANARY not in repr(findings)


async def test_a_node_that_is_silent_and_one_that_is_behind_are_found(dsn, db):
    await make_token(db)
    for name, seen in (("mx-silent", "1 hour"), ("mx-behind", "1 second")):
        await db.execute(
            "insert into policy.node (node_id, last_seen, first_seen)"
            " values ($1, now() - $2::text::interval, now() - interval '2 hours')",
            name,
            seen,
        )
    await db.execute("update policy.revision set at = at - interval '1 hour'")
    behind, silent = found(await examined(make_config(dsn)), "nodes")
    assert "mx-behind has not applied" in behind.says
    assert "mx-silent has been silent" in silent.says


async def test_keys_that_are_missing_damaged_or_of_another_algorithm_are_found(dsn, db, key_directory):
    for domain in ("missing.example", "damaged.example", "other.example", "good.example"):
        await sign(db, domain)
    keep(key_directory, "damaged.example", f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n".encode())
    keep(key_directory, "other.example", ed25519_pem())
    keep(key_directory, "good.example", rsa_pem())
    findings = found(await examined(make_config(dsn, keys=key_directory)), "keys")
    assert [finding.says.split()[0] for finding in findings] == [
        "damaged.example",
        "missing.example",
        "other.example",
    ]
    assert CANARY not in repr(findings)


async def test_keys_that_only_the_service_may_read_are_one_finding_which_says_who_can_look(
    dsn, db, key_directory, monkeypatch
):
    def closed(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("policyd.keys.files._read", closed)
    for domain in ("a.example", "b.example"):
        await sign(db, domain)
    (finding,) = found(await examined(make_config(dsn, keys=key_directory)), "keys")
    assert f"2 of the private keys in {key_directory}" in finding.says
    assert "sudo -u policyd $(command -v policyd) doctor" in (finding.next_step or "")


async def test_a_key_root_that_the_configuration_does_not_have_is_found(dsn, db):
    await sign(db, "a.example", root="acme")
    (finding,) = found(await examined(make_config(dsn)), "keys")
    assert "the configuration has no [keys.acme]" in finding.says


async def test_a_vault_that_lets_policyd_in_is_well_and_says_how_long_its_token_lasts(dsn, db):
    await sign(db, "a.example", algorithm="sha256")
    async with doubled() as (vault, _):
        await vault.write("a.example/s1", rsa_pem())
        config = replace(
            make_config(dsn), keys={"default": vault.root}, vault=vault.config(token=await vault.token())
        )
        findings = await examined(config)
    assert the_only(findings, "vault").severity == "ok"
    assert "lasts 1.0 h and is renewed" in the_only(findings, "vault").says
    assert the_only(findings, "keys").severity == "ok"


async def test_a_vault_that_refuses_the_credential_is_found_without_its_secret(dsn, db):
    async with doubled() as (vault, _):
        config = replace(
            make_config(dsn), keys={"default": vault.root}, vault=vault.config(token=f"hvs.{CANARY}")
        )
        findings = await examined(config)
    assert the_only(findings, "vault").severity == "error"
    assert CANARY not in repr(findings)


async def test_a_vault_that_is_gone_is_found(dsn, db, unused_tcp_port):
    config = replace(
        make_config(dsn),
        keys={"default": KeyRootConfig(kind="vault")},
        vault=replace(Config().vault, address=f"http://127.0.0.1:{unused_tcp_port}", token="hvs.x"),
    )
    assert the_only(await examined(config), "vault").severity == "error"


async def test_without_postgresql_the_rest_is_looked_at_all_the_same():
    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        raise DatabaseUnavailable("connection refused")
        yield

    findings = [finding async for finding in examine(Config(), connect, most_keys=10)]
    assert [(finding.area, finding.severity) for finding in findings] == [
        ("database", "error"),
    ]


@pytest.mark.parametrize("as_json", [True, False])
async def test_the_command_ends_with_1_where_something_is_wrong_and_with_0_where_not(dsn, db, as_json):
    await make_token(db)
    command = ["doctor", "--set", "client.admin_url=http://127.0.0.1:1", *(["--json"] if as_json else [])]
    runner = CliRunner(env={"POLICYD_DATABASE_DSN": dsn})

    def run() -> tuple[int, str]:
        done = runner.invoke(policyd, command)
        return done.exit_code, done.output

    status, said = await asyncio.to_thread(run)
    assert (status, "http://127.0.0.1:1/readyz does not answer" in said) == (0, True)
    await db.execute("alter table policy.tenant disable trigger t500_log_update")
    status, said = await asyncio.to_thread(run)
    assert (status, "tenant.t500_log_update" in said) == (1, True)
