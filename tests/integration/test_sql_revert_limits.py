"""
policy.revert: what nobody gets back, who may, and what the log does not tell.
"""

import json

import asyncpg
import pytest

from policyd.store.pool import Connection
from tests.integration.sql_log import head
from tests.integration.sql_reverting import SITE, done, forced, refused, rows


@pytest.fixture
async def site(db: Connection) -> Connection:
    await db.execute(SITE)
    return db


async def test_a_revert_gives_nobody_back_what_was_taken_away(site):
    await site.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant) values ('shop', $1, 'acme'), ('desk', $1, 'acme')",
        f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'a' * 43}",
    )
    await site.execute("insert into policy.api_token (name, sha256, scopes) values ('mx-1', repeat('0', 64), '{lookup}'), ('mx-2', repeat('1', 64), '{lookup,admin}')")  # fmt: skip
    first = await done(site, "delete from policy.api_token where name = 'mx-1'")
    await done(site, "update policy.api_token set scopes = '{lookup}' where name = 'mx-2'")
    await done(site, "update policy.smtp_credential set enabled = false where username = 'shop'")
    await done(site, "delete from policy.smtp_credential where username = 'desk'")
    last = await done(site, "update policy.tenant set egress_pool = 'vip'")
    before = await rows(site, "api_token", "smtp_credential")
    lost, wider = (
        "what it let in with is not in the log, and does not come back",
        "would let in what is not let in now",
    )
    assert await refused(site, first, last) == [
        f"policy.api_token, name 'mx-1': {lost}",
        f"policy.api_token, name 'mx-2': {wider}",
        f"policy.smtp_credential, username 'desk': {lost}",
        f"policy.smtp_credential, username 'shop': {wider}",
    ]
    taken, heard = await forced(site, first, last)
    assert taken == last + 1
    assert [line.partition(":")[0] for line in heard] == ["left as it is"] * 4
    assert await rows(site, "api_token", "smtp_credential") == before
    assert await site.fetchval("select egress_pool from policy.tenant") == "bulk"


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("enabled = false", False),
        ("expires_at = '2030-01-01'", False),
        ("networks = '{10.1.0.0/16}'", False),
        ("networks = null", True),
        ("expires_at = null", True),
        ("tenant = 'zoo'", True),
        (f"password_hash = '$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'b' * 43}'", False),
    ],
)
async def test_a_credential_s_rights_are_taken_back_but_not_given_back(site, change, back):
    await site.execute("insert into policy.tenant (name) values ('zoo')")
    await site.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant, networks, expires_at) values ('u', $1, 'acme', '{10.0.0.0/8}', '2031-01-01')",
        f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'a' * 43}",
    )
    revision = await done(site, f"update policy.smtp_credential set {change}")
    if back:
        assert await site.fetchval("select policy.revert($1)", revision) == revision + 1
    else:
        assert len(await refused(site, revision)) == 1


async def test_who_was_let_in_by_mistake_is_put_out_again(site):
    revision = await done(site, "insert into policy.api_token (name, sha256, scopes) values ('wrong', repeat('0', 64), '{admin}')")  # fmt: skip
    assert await site.fetchval("select policy.revert($1)", revision) == revision + 1
    assert await site.fetchval("select count(*) from policy.api_token") == 0


async def test_usernames_that_differ_by_case_do_not_stand_in_each_other_s_way(site):
    hashed = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'a' * 43}"
    await site.execute(
        "insert into policy.smtp_credential (username, password_hash, tenant) values ('u', $1, 'acme')",
        hashed,
    )
    revision = await done(site, "update policy.smtp_credential set username = 'U'")
    _, heard = await forced(site, revision)
    assert heard == ["left as it is: policy.smtp_credential, username 'u': what it let in with is not in the log, and does not come back"]  # fmt: skip
    assert await site.fetchval("select count(*) from policy.smtp_credential") == 0


async def test_a_floor_is_in_the_way_because_what_it_stands_for_is_not_in_the_log(site):
    first = await done(site, "update policy.tenant set egress_pool = 'vip'")
    floor = await site.fetchval("select policy.invalidate('queue', 'repaired by hand')")
    assert await refused(site, first, floor) == [
        f"revision {floor} said that all of queue had changed unseen by the log (repaired by hand)"
    ]
    assert (await forced(site, first, floor))[0] == floor + 1
    assert await site.fetchval("select egress_pool from policy.tenant") == "bulk"


async def test_what_was_seen_of_private_keys_is_no_policy_to_take_back(db):
    for key_id, known in (("0", None), ("1", "0")):
        await db.execute("select policy.note_dkim_key('default', 'a/s1', repeat($1, 64), 'sha256', repeat($2, 64))", key_id, known)  # fmt: skip
    assert await db.fetchval("select policy.revert($1)", await head(db)) is None
    assert await db.fetchval("select key_id from policy.dkim_key_seen") == "1" * 64


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("999", r"there is no revision 999: they go from 1 to \d+"),
        ("0", "there is no revision 0"),
        ("null", "there is no revision"),
        ("3, 2", "revision 3 is later than 2: the earlier one comes first"),
        ("4, 999", "there is no revision 999"),
    ],
)
async def test_revisions_that_are_not_there_are_named(site, arguments, sentence):
    with pytest.raises(asyncpg.InvalidParameterValueError, match=sentence):
        await site.fetchval(f"select policy.revert({arguments})")


async def test_what_was_pruned_cannot_be_taken_back_and_says_so(site):
    revision = await done(site, "update policy.tenant set egress_pool = 'vip'")
    await site.execute("select policy.prune($1)", revision)
    later = await done(site, "update policy.tenant set egress_pool = null")
    for first in (1, revision):
        with pytest.raises(
            asyncpg.ObjectNotInPrerequisiteStateError,
            match=f"what revision {first} changed is not known any more: the log was pruned up to revision {revision}",
        ):
            await site.fetchval("select policy.revert($1, $2)", first, later)
    assert await site.fetchval("select policy.revert($1)", later) == later + 1


async def test_rows_from_before_a_column_was_there_come_back_with_its_default_or_as_they_are(site):
    deleted = await done(site, "delete from policy.tenant_campaign")
    changed = await done(site, "update policy.egress_source set remote_port = 26 where name = 'ip-1'")
    await site.execute(
        """
        insert into policy.option (object, name, format) values ('tenant', 'colour', 'text'), ('egress_source', 'colour', 'text');
        alter table policy.tenant_campaign add column colour text not null default 'grey';
        alter table policy.egress_source add column colour text;
        """
    )
    await site.execute("update policy.egress_source set colour = 'red' where name = 'ip-1'")
    assert await site.fetchval("select policy.revert($1)", deleted)
    assert await site.fetchval("select colour from policy.tenant_campaign") == "grey"
    assert await refused(site, changed) == [
        f"policy.egress_source, name 'ip-1': was changed in revision {changed + 1}, by postgres (colour)"
    ]
    await forced(site, changed)
    assert tuple(await site.fetchrow("select remote_port, colour from policy.egress_source where name = 'ip-1'")) == (None, "red")  # fmt: skip


async def test_what_a_dropped_column_held_cannot_come_back(site):
    revision = await done(site, "update policy.egress_source set ehlo_domain = 'mta.example' where name = 'ip-1'", "delete from policy.tenant_campaign")  # fmt: skip
    again = await done(site, "update policy.egress_source set ehlo_domain = null where name = 'ip-1'")
    await site.execute("alter table policy.tenant_campaign drop column overall_max_message_rate cascade")
    await site.execute("alter table policy.egress_source drop column remote_port cascade")
    assert await site.fetchval("select policy.revert($1, $2)", revision, again) == again + 1
    await site.execute("alter table policy.egress_source drop column ehlo_domain cascade")
    assert await refused(site, again) == [
        "policy.egress_source, name 'ip-1': was logged with columns that its table does not have any more"
    ]


async def test_times_are_compared_as_times_and_not_as_somebody_s_clock_shows_them(db):
    await db.execute("set timezone = 'Asia/Tokyo'; update policy.dkim_settings set selector = 's1'")
    revision = await done(db, "insert into policy.dkim_domain (domain, not_after) values ('a.example', '2031-06-01 06:00+00')")  # fmt: skip
    await db.execute("set timezone = 'America/New_York'")
    assert await db.fetchval("select policy.revert($1)", revision) == revision + 1


async def test_an_editor_takes_back_rows_but_nothing_that_is_restricted(site):
    await site.execute("update policy.queue set options = '{\"protocol\": {\"maildir_path\": \"/var/mail\"}}' where domain = 'gmail.com'")  # fmt: skip
    restricted = await done(site, "update policy.queue set options = '{}' where domain = 'gmail.com'")
    insecure = await done(site, "insert into policy.webhook (name, url, events) values ('w', 'https://a.example', '{Bounce}')")  # fmt: skip
    token = await done(
        site, "insert into policy.api_token (name, sha256, scopes) values ('t', repeat('0', 64), '{lookup}')"
    )
    pool = await done(site, "update policy.tenant set egress_pool = 'vip'")
    await site.execute("set role policyd_editor")
    assert await site.fetchval("select policy.revert($1)", pool) == pool + 1
    assert await site.fetchval("select policy.revert($1)", insecure) == pool + 2
    assert await site.fetchval("select policy.revert($1)", pool + 2) == pool + 3
    with pytest.raises(asyncpg.CheckViolationError, match=r"protocol\.maildir_path is restricted"):
        await site.fetchval("select policy.revert($1)", restricted)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await site.fetchval("select policy.revert($1)", token)
    await site.execute("reset role")
    await site.execute("update policy.webhook set url = 'http://a.example', insecure = true")
    gone = await done(site, "delete from policy.webhook")
    await site.execute("set role policyd_editor")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await site.fetchval("select policy.revert($1)", gone)


async def test_a_reader_sees_what_a_revert_would_do_and_cannot_do_it(site):
    revision = await done(
        site,
        "update policy.tenant set egress_pool = 'vip'",
        "insert into policy.api_token (name, sha256, scopes) values ('t', repeat('0', 64), '{lookup}')",
    )
    await site.execute("set role policyd_reader")
    seen = await site.fetch('select "table", op, becomes, obstacle from policy.reversals($1)', revision)
    assert [(row["table"], row["op"], row["obstacle"]) for row in seen] == [
        ("api_token", "delete", None),
        ("tenant", "update", None),
    ]
    assert json.loads(seen[1]["becomes"])["egress_pool"] == "bulk"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await site.fetchval("select policy.revert($1)", revision)
