"""
DKIM as rows: what is refused, what the documents say, and what is seen of keys.
"""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.conftest import connection_to
from tests.integration.sql_log import changes, head
from tests.integration.test_sql_roles import acting_as, denied

A, B, C = "a" * 64, "b" * 64, "c" * 64


async def document(db: asyncpg.Connection, tag: str) -> Any:
    body = await db.fetchval(
        f"select body::text from policy.{tag.partition('/')[0]}_document where tag = $1", tag
    )
    return None if body is None else json.loads(body)


async def note(db: asyncpg.Connection, key_id: str, known: str | None, algorithm: str = "sha256") -> str:
    noted: str = await db.fetchval(
        "select key_id from policy.note_dkim_key('default', 'a.example/s1', $1, $2, $3)",
        key_id,
        algorithm,
        known,
    )
    return noted


@pytest.fixture
async def selected(db: asyncpg.Connection) -> asyncpg.Connection:
    await db.execute("update policy.dkim_settings set selector = 's1'")
    return db


@pytest.mark.parametrize(
    ("columns", "values", "complaint"),
    [
        ("domain", "'A.example'", "domain_is_lower_case_a_labels_without_trailing_dot"),
        ("domain, headers", "'a.example', '{To,Subject}'", 'headers is .*; allowed is a list .* with "From" among them'),
        ("domain, headers", "'a.example', '{}'", "headers is .*; allowed is a list"),
        ("domain, headers", "'a.example', '{From,\"X Y\"}'", "headers is .*; allowed is a list"),
        ("domain, header_canonicalization", "'a.example', 'relaxed'", "allowed is Relaxed, Simple"),
        ("domain, body_canonicalization", "'a.example', 'None'", "allowed is Relaxed, Simple"),
        ("domain, selector", "'a.example', '../x'", "selector is .*; allowed is labels"),
        ("domain, algorithm", "'a.example', 'rsa'", "algo is .*; allowed is sha256, ed25519"),
        ("domain, expiration", "'a.example', 0", "expiration is 0; allowed is an integer from 1 on"),
        ("domain, key_root", "'a.example', '/etc'", "key_root_is_like_default_or_acme_2"),
        ("domain, key_name", "'a.example', '../../etc/shadow'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', '/etc/shadow'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', 'a//b'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', 'a/'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', 'a/.b'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', repeat('a/', 8) || 'a'", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, key_name", "'a.example', 'a/' || repeat('a', 201)", "key_name_is_a_name_below_a_root_and_no_path"),
        ("domain, not_before, not_after", "'a.example', now(), now()", "not_before_is_earlier_than_not_after"),
        ("domain, not_after", "'a.example', 'infinity'", "not_after_is_a_point_in_time"),
    ],
)  # fmt: skip
async def test_what_could_not_sign_is_refused(selected, columns, values, complaint):
    for table, more, key in (("dkim_domain", "", ""), ("dkim_signature", "name, ", "'n', ")):
        with pytest.raises(asyncpg.CheckViolationError, match=complaint):
            await selected.execute(f"insert into policy.{table} ({more}{columns}) values ({key}{values})")


async def test_a_signature_has_one_domain_and_a_policy_that_there_is(selected):
    for values in ("'n', '*.example', 'Always'", "'n', '*', 'Always'", "'n', 'a.example', 'Sometimes'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await selected.execute(
                f"insert into policy.dkim_signature (name, domain, policy) values ({values})"
            )


async def test_a_row_needs_a_selector_of_its_own_or_of_the_settings(db):
    with pytest.raises(
        asyncpg.CheckViolationError, match=r"domain .a\.example.: there is no selector, neither its own"
    ):
        await db.execute("insert into policy.dkim_domain (domain) values ('a.example')")
    await db.execute("insert into policy.dkim_domain (domain, selector) values ('a.example', 's1')")
    await db.execute("update policy.dkim_settings set selector = 's'")
    await db.execute("insert into policy.dkim_signature (name, domain) values ('esp', 'esp.example')")
    with pytest.raises(asyncpg.CheckViolationError, match="dkim_signature, name 'esp': there is no selector"):
        await db.execute("update policy.dkim_settings set selector = null")
    async with db.transaction():
        await db.execute("update policy.dkim_settings set selector = null")
        await db.execute("update policy.dkim_signature set selector = 's2'")


async def test_an_additional_signature_exists_once_and_its_order_is_the_settings_document(selected):
    await selected.execute(
        """
        insert into policy.dkim_signature (name, domain) values ('a/b', 'a.example'), ('esp', 'esp.example');
        insert into policy.dkim_additional_signature values (1, 'a/b'), (0, 'esp');
        """
    )
    settings = await document(selected, "dkim_settings")
    assert settings["additional_signatures"] == ["esp", "a/b"]
    assert await document(selected, "dkim_signature/a%2Fb") == {"domain": "a.example", "policy": "Always"}
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await selected.execute("insert into policy.dkim_additional_signature values (2, 'nobody')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await selected.execute("insert into policy.dkim_additional_signature values (2, 'esp')")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await selected.execute("delete from policy.dkim_signature where name = 'esp'")
    before = await head(selected)
    await selected.execute("update policy.dkim_signature set name = 'us' where name = 'esp'")
    assert {tuple(change.tags) for change in await changes(selected, before)} == {
        ("dkim_signature/esp",), ("dkim_signature/us",), ("dkim_settings",),
    }  # fmt: skip


async def test_a_key_may_have_eight_parts_of_two_hundred_letters(selected):
    await selected.execute(
        "insert into policy.dkim_domain (domain, key_name) values ('a.example', repeat(repeat('a', 200) || '/', 7) || repeat('a', 200))"
    )


async def test_a_domain_says_its_times_in_seconds_and_leaves_out_what_it_does_not_say(selected):
    await selected.execute(
        "insert into policy.dkim_domain (domain, headers, over_sign, key_name, not_before, not_after) values"
        " ('*.example', '{from,To}', false, 'shared/2026a', to_timestamp(1000), to_timestamp(2000.5))"
    )
    assert await document(selected, "dkim_domain/*.example") == {
        "headers": ["from", "To"], "over_sign": False, "key_name": "shared/2026a", "not_before": 1000, "not_after": 2000.5,
    }  # fmt: skip


async def test_the_settings_stay(db):
    with pytest.raises(asyncpg.RestrictViolationError, match="cannot be deleted"):
        await db.execute("delete from policy.dkim_settings")


async def test_a_first_sight_is_no_change_and_another_key_is_one(db):
    before = await head(db)
    assert await note(db, A, None) == A
    assert await note(db, A, None) == A
    assert await note(db, A, A) == A
    assert await head(db) == before
    assert await document(db, "dkim_key/default/a.example%2Fs1") == {"key_id": A, "algorithm": "sha256"}
    assert await note(db, B, A, "ed25519") == B
    (change,) = await changes(db, before)
    assert change.tags == ["dkim_key/default/a.example%2Fs1"]
    assert (change.old, change.new) == (
        {"key_id": A, "algorithm": "sha256"},
        {"key_id": B, "algorithm": "ed25519"},
    )


async def test_who_did_not_know_the_key_that_is_known_changes_nothing(db):
    await note(db, A, None)
    before = await head(db)
    assert await note(db, B, None) == A
    assert await note(db, B, C) == A
    assert await head(db) == before


async def test_one_key_seen_by_many_at_once_is_one_change(db, dsn):
    await note(db, A, None)
    before = await head(db)

    async def replica() -> str:
        async with connection_to(dsn) as connection:
            return await note(connection, B, A)

    assert await asyncio.gather(*(replica() for _ in range(6))) == [B] * 6
    assert len(await changes(db, before)) == 1


async def test_a_key_that_is_forgotten_is_a_change(db):
    await note(db, A, None)
    before = await head(db)
    async with acting_as(db, "policyd_owner"):
        await db.execute("delete from policy.dkim_key_seen")
    assert [(change.op, change.tags) for change in await changes(db, before)] == [
        ("delete", ["dkim_key/default/a.example%2Fs1"])
    ]


async def test_the_service_notes_keys_and_nobody_else_writes_them(db):
    statement = "select policy.note_dkim_key('default', 'a', repeat('0', 64), 'sha256', null)"
    async with acting_as(db, "policyd_service"):
        await db.execute(statement)
        await db.execute(statement.replace("0'", "1'").replace("null", "repeat('0', 64)"))
        await denied(
            db,
            "insert into policy.dkim_key_seen values ('default', 'b', repeat('0', 64), 'sha256')",
            "delete from policy.dkim_key_seen",
            "insert into policy.dkim_domain (domain, selector) values ('a.example', 's1')",
        )
    for role in ("policyd_editor", "policyd_reader"):
        async with acting_as(db, role):
            await denied(db, statement, "delete from policy.dkim_key_seen")
            await db.execute("select key_id from policy.dkim_key_seen")
    async with acting_as(db, "policyd_editor"):
        await db.execute("insert into policy.dkim_domain (domain, selector) values ('a.example', 's1')")
