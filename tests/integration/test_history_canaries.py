"""No secret, hash or token is in anything that history, show, revert, at and whatif say, or in what they refuse with."""

import asyncio
import json
import re
from pathlib import Path

import asyncpg
import pytest

from policyd.passwords import hash_password
from policyd.policy.token import hash_secret
from policyd.store.pool import Connection
from tests.integration.conftest import Run

CANARY = "CanarySecret"
TOKENS = tuple(f"{CANARY}-{name}-0123456789" for name in ("first", "second"))
PASSWORDS = tuple(f"{CANARY} {name}" for name in ("first", "second"))

SITE = """
insert into policy.egress_pool (name) values ('bulk');
insert into policy.tenant (name, egress_pool) values ('acme', 'bulk'), ('zoo', 'bulk');
insert into policy.egress_source (name, socks5_proxy_server, socks5_proxy_source_address, socks5_proxy_username, socks5_proxy_password)
  values ('s', '10.0.0.9:1080', '192.0.2.9', 'kumo', '{"secret": "proxy"}');
insert into policy.webhook (name, url, events, headers, secret)
  values ('w', 'https://a.example', '{Bounce}', '{"Authorization": {"secret": "hook"}}', 'signature');
"""
LOOKUPS = (
    "/queue/a?tenant=acme",
    "/egress-source/s",
    "/egress-pool/bulk",
    "/tenant/acme",
    "/webhooks",
    "/dkim/a",
)
HASH = re.compile(r"[0-9a-f]{64}|\$argon2")


async def lives(db: Connection) -> None:
    """Tokens and credentials come, change and go."""
    await db.execute(SITE)
    first, second = (hash_password(each) for each in PASSWORDS)
    insert = "insert into policy.api_token (name, sha256, scopes) values ($1, $2, '{lookup}')"
    await db.execute(insert, "mx-1", hash_secret(TOKENS[0]))
    await db.execute(
        "update policy.api_token set sha256 = $1, scopes = '{lookup,admin}'", hash_secret(TOKENS[1])
    )
    await db.execute("update policy.api_token set scopes = '{lookup}'")
    await db.execute("delete from policy.api_token")
    await db.execute(insert, "mx-1", hash_secret(TOKENS[0]))
    await db.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant) values ('shop', $1, 'acme')",
        first,
    )
    await db.execute(
        "update policy.smtp_credential set password_hash = $1, tenant = 'zoo', enabled = false", second
    )
    await db.execute("delete from policy.smtp_credential")
    await db.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant) values ('shop', $1, 'acme')",
        first,
    )


async def test_nothing_secret_is_said_of_the_past(db: Connection, policyd: Run, tmp_path: Path) -> None:
    await lives(db)
    last = await db.fetchval("select max(number) from policy.revision")
    script = tmp_path / "change.sql"
    said: list[tuple[tuple[str, ...], str]] = []

    def say(*arguments: str) -> None:
        _, out, err = policyd(*arguments)
        said.append((arguments, out + err))

    def say_everything() -> None:
        for name in (
            (),
            ("token/mx-1",),
            ("smtp_credential/shop",),
            ("source/s",),
            ("token/mx-2",),
            ("--json",),
        ):
            say("history", "--limit", "100", *name)
        for number in range(last - 8, last + 1):
            say("show", str(number), *(["--json"] if number % 2 else []))
            say("revert", str(number), "--dry-run")
            say("revert", str(number), "--dry-run", "--force")
        say("revert", f"{last - 8}..last", "--dry-run", "--force", "--json", "--reason", "a test")
        for path in LOOKUPS:
            say("at", str(last - 4), "lookup", path)
        say("at", str(last - 4), "explain", LOOKUPS[1], "--json")
        for statement in (
            f"update policy.smtp_credential set password_hash = '{PASSWORDS[0]}'",
            f"insert into policy.api_token (name, sha256, scopes) values ('x', '{TOKENS[0]}', '{{lookup}}')",
            f"insert into policy.egress_source (name, socks5_proxy_username, socks5_proxy_password) values ('a', 'u', '\"{TOKENS[0]}\"')",
            f'update policy.webhook set headers = \'{{"Authorization": "{TOKENS[0]}"}}\'',
            f"alter system set primary_conninfo = 'password={TOKENS[0]}'",
            f"update policy.api_token set sha256 = '{hash_secret(TOKENS[1])}'",
            "delete from policy.smtp_credential",
        ):
            script.write_text(statement)
            say("whatif", str(script), "--", "lookup", "/egress-source/s")
        say("revert", f"1..{last}", "--force", "--reason", "all of it")
        say("history", "--limit", "1")

    await asyncio.to_thread(say_everything)
    assert len(said) > 45
    told = "".join(text for _, text in said)
    for expected in (
        "(another, not shown)",
        "does not come back",
        "would let in",
        "left as it is",
        '"secret": "proxy"',
    ):
        assert expected in told.replace('\\"', '"'), expected
    for arguments, text in said:
        assert CANARY.lower() not in text.lower(), arguments
        assert not HASH.search(text), arguments


async def test_nothing_secret_is_in_the_log_or_in_what_sql_tells_of_it(db: Connection) -> None:
    await lives(db)
    last = await db.fetchval("select max(number) from policy.revision")
    said = [row[0] for row in await db.fetch("select c::text from policy.change c")]
    for first in range(1, last + 1):
        for statement in (
            "select r::text from policy.net_changes($1, $2) r",
            "select r::text from policy.reversals($1, $2) r",
        ):
            said += [row[0] for row in await db.fetch(statement, first, last)]
    for kind in ("api_token/mx-1", "smtp_credential/shop"):
        with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
            await db.fetch("select * from policy.documents_at($1, $2)", last, [kind])
        said.append(f"{caught.value} {caught.value.detail}")
    text = json.dumps(said)
    assert len(said) > 50
    assert CANARY.lower() not in text.lower()
    assert not HASH.search(text)
