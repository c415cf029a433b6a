"""What the rows of webhooks and credentials may say, who may see what of them, and what of them is logged."""

import json

import asyncpg
import pytest

from tests.integration.sql_log import changes, head
from tests.integration.test_sql_refusals import refusal
from tests.integration.test_sql_roles import acting_as, denied

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "canary" + "B" * 37
CREDENTIAL = "insert into policy.smtp_credential (username, password_hash, tenant) values ($1, $2, $3)"
HTTPS = "'https://hooks.example/mail'"


async def make_tenant(db: asyncpg.Connection, name: str = "acme") -> None:
    await db.execute("insert into policy.tenant (name) values ($1)", name)


GOOD_URLS = (
    "https://hooks.example", "https://hooks.example/", "https://hooks.example?a=b", "https://hooks.example:8443/a/b?c=d&e=%20f",
    "https://192.0.2.1/x", "https://[2001:db8::1]:443/x", "https://HOOKS.example/Path", "https://a_b.example/x~y(z)!*'",
)  # fmt: skip
BAD_URLS = (
    "", "hooks.example", "ftp://hooks.example", "https://", "https:///x", "https://user@hooks.example/", "https://u:p@hooks.example/",
    "https://hooks.example/#a", "https://hooks.example/a b", "https://hooks.example:0/", "https://hooks.example:65536/",
    "https://hooks.example:/", "https://bücher.example/", "https://[::g]/", "https://[::1/", "https://a..example/", "HTTPS://a.example/",
    "https://hooks.example/\r\nX: y", "https://hooks.example\\@evil.example/", "https://hooks.example/" + "a" * 2000,
)  # fmt: skip


@pytest.mark.parametrize("url", GOOD_URLS)
async def test_a_webhook_s_url_is_https(db, url):
    await db.execute("insert into policy.webhook (name, url, events) values ('a', $1, '{Bounce}')", url)
    plain = url.replace("https:", "http:")
    insert = "insert into policy.webhook (name, url, insecure, events) values ('b', $1, $2, '{Bounce}')"
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await db.execute(insert, plain, False)
    assert refused.value.constraint_name == "http_is_only_for_those_that_are_insecure"
    await db.execute(insert, plain, True)


@pytest.mark.parametrize("url", BAD_URLS)
async def test_what_is_no_web_url_or_holds_a_user_is_refused(db, url):
    for insecure in (True, False):
        with pytest.raises(asyncpg.CheckViolationError):
            await db.execute(
                "insert into policy.webhook (name, url, insecure, events) values ('a', $1, $2, '{Bounce}')",
                url,
                insecure,
            )


RULES = [
    ("name, url, events", f"'A', {HTTPS}, '{{Bounce}}'", "name_is_a_lower_case_label"),
    ("name, url, events", f"'a.b', {HTTPS}, '{{Bounce}}'", "name_is_a_lower_case_label"),
    ("name, url, events", f"repeat('a', 64), {HTTPS}, '{{Bounce}}'", "name_is_a_lower_case_label"),
    ("name, url, events", f"'a', {HTTPS}, '{{}}'", "events_are_some_of_kumomtas_record_types"),
    ("name, url, events", f"'a', {HTTPS}, '{{bounce}}'", "events_are_some_of_kumomtas_record_types"),
    ("name, url, events", f"'a', {HTTPS}, '{{Bounce,NULL}}'", "events_are_some_of_kumomtas_record_types"),
    ("name, url, events, tenant", f"'a', {HTTPS}, '{{Bounce}}', 'nobody'", "the_tenant_exists"),
    ("name, url, events, secret", f"'a', {HTTPS}, '{{Bounce}}', 'no name'", "secret_is_the_name_of_one"),
    ("name, url, events, batch_size", f"'a', {HTTPS}, '{{Bounce}}', 0", "batch_size_is_from_1_to_10000"),
    ("name, url, events, timeout", f"'a', {HTTPS}, '{{Bounce}}', '30'", "timeout_is_from_one_second_to_five_minutes"),
    ("name, url, events, timeout", f"'a', {HTTPS}, '{{Bounce}}', '6m'", "timeout_is_from_one_second_to_five_minutes"),
    ("name, url, events, max_batch_latency", f"'a', {HTTPS}, '{{Bounce}}', '2h'", "max_batch_latency_is_up_to_an_hour"),
]  # fmt: skip


async def test_a_webhook_s_rules_are_called_by_their_names(db):
    for columns, values, rule in RULES:
        error = await refusal(db, f"insert into policy.webhook ({columns}) values ({values})")
        assert error.constraint_name == rule, values


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ([], "headers_are_texts_or_secrets_by_name"),
        ("x", "headers_are_texts_or_secrets_by_name"),
        ({"X": 1}, "headers_are_texts_or_secrets_by_name"),
        ({"X": None}, "headers_are_texts_or_secrets_by_name"),
        ({"X": ""}, "headers_are_texts_or_secrets_by_name"),
        ({"X": " a"}, "headers_are_texts_or_secrets_by_name"),
        ({"X": "a\r\nY: b"}, "headers_are_texts_or_secrets_by_name"),
        ({"X": "ä"}, "headers_are_texts_or_secrets_by_name"),
        ({"X": "a" * 1001}, "headers_are_texts_or_secrets_by_name"),
        ({"X": {"secret": "a", "b": 1}}, "headers_are_texts_or_secrets_by_name"),
        ({"X": {"file": "/etc/passwd"}}, "headers_are_texts_or_secrets_by_name"),
        ({"": "a"}, "headers_are_texts_or_secrets_by_name"),
        ({"A B": "a"}, "headers_are_texts_or_secrets_by_name"),
        ({"A:": "a"}, "headers_are_texts_or_secrets_by_name"),
        ({"X-A": "a", "x-a": "b"}, "headers_are_texts_or_secrets_by_name"),
        ({str(number): "a" for number in range(51)}, "headers_are_texts_or_secrets_by_name"),
        ({"HOST": "a"}, "headers_of_the_connection_are_made_by_the_client"),
        ({"Transfer-Encoding": "chunked"}, "headers_of_the_connection_are_made_by_the_client"),
        ({"content-length": {"secret": "a"}}, "headers_of_the_connection_are_made_by_the_client"),
        ({"Authorization": "Bearer canary-4711"}, "headers_with_credentials_are_secrets_by_name"),
        ({"Cookie": "canary-4711"}, "headers_with_credentials_are_secrets_by_name"),
        ({"X-Api-Key": "canary-4711"}, "headers_with_credentials_are_secrets_by_name"),
        ({"apikey": "canary-4711"}, "headers_with_credentials_are_secrets_by_name"),
        ({"X-Auth-Token": "canary-4711"}, "headers_with_credentials_are_secrets_by_name"),
    ],
)
async def test_a_header_that_may_not_be_is_refused_without_being_quoted(db, headers, rule):
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await db.execute(
            f"insert into policy.webhook (name, url, events, headers) values ('a', {HTTPS}, '{{Bounce}}', $1)",
            json.dumps(headers),
        )
    assert refused.value.constraint_name == rule
    assert "canary" not in str(refused.value) + str(refused.value.detail)


async def test_headers_may_be_texts_and_secrets_by_name(db):
    headers = {
        "X-Environment": "eu west; q=1",
        "Authorization": {"secret": "acme-hook"},
        "Content-Type": "application/json",
    }
    await db.execute(
        f"insert into policy.webhook (name, url, events, headers) values ('a', {HTTPS}, '{{Bounce}}', $1)",
        json.dumps(headers),
    )
    document = json.loads(await db.fetchval("select body from policy.webhook_document where tag = 'webhook'"))
    assert document["webhooks"][0]["headers"] == headers


async def test_a_tenant_that_is_told_of_its_mail_cannot_go_and_leave_everybody_s_to_be_told(db):
    await make_tenant(db)
    await db.execute(
        f"insert into policy.webhook (name, url, events, tenant) values ('a', {HTTPS}, '{{Bounce}}', 'acme')"
    )
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await db.execute("delete from policy.tenant where name = 'acme'")
    before = await head(db)
    await db.execute("update policy.tenant set name = 'apex' where name = 'acme'")
    assert {tag for change in await changes(db, before) for tag in change.tags} == {
        "tenant/acme",
        "tenant/apex",
        "webhook",
    }


async def test_an_editor_may_not_allow_http(db):
    async with acting_as(db, "policyd_editor"):
        await db.execute(
            f"insert into policy.webhook (name, url, events) values ('a', {HTTPS}, '{{Bounce}}')"
        )
        await db.execute("update policy.webhook set events = '{Delivery}', enabled = false where name = 'a'")
        await denied(
            db,
            "insert into policy.webhook (name, url, insecure, events) values ('b', 'http://a.example', true, '{Bounce}')",
            "update policy.webhook set insecure = true",
        )
        await db.execute("delete from policy.webhook")


BAD_CREDENTIALS = [
    ("username", "''", "username_is_1_to_255_characters_without_colon_or_controls"),
    ("username", "repeat('u', 256)", "username_is_1_to_255_characters_without_colon_or_controls"),
    ("username", "'a:b'", "username_is_1_to_255_characters_without_colon_or_controls"),
    ("username", "e'a\\x01'", "username_is_1_to_255_characters_without_colon_or_controls"),
    ("username", "' a'", "username_is_1_to_255_characters_without_colon_or_controls"),
    ("username", "e'u\\u0308'", "username_is_in_normal_form_c"),
    ("username", "null", None),
    ("tenant", "null", None),
    ("tenant", "'nobody'", "the_tenant_exists"),
    ("enabled", "null", None),
    ("networks", "'{}'", "networks_are_null_for_any_or_not_empty"),
    ("networks", "array[null]::cidr[]", "networks_are_null_for_any_or_not_empty"),
    ("networks", "'{10.0.0.1/8}'", None),
    ("expires_at", "'infinity'", "it_is_a_point_in_time"),
    ("username", "'ACME'", "usernames_differ_by_more_than_case"),
    ("username", "'other'", "usernames_are_unique"),
]


async def test_a_credential_that_may_not_be_is_refused_without_its_hash(db):
    await make_tenant(db)
    await db.execute(CREDENTIAL, "other", HASH, "acme")
    await db.execute(CREDENTIAL, "acme", HASH, "acme")
    for column, value, rule in BAD_CREDENTIALS:
        whose = "other" if rule == "usernames_differ_by_more_than_case" else "acme"
        error = await refusal(
            db, f"update policy.smtp_credential set {column} = {value} where username = '{whose}'"
        )
        assert error.constraint_name == rule, (column, value)
        said = f"{error} {error.detail}"
        assert "canary" not in said, said
        assert "argon2id$" not in said, said


@pytest.mark.parametrize(
    "written",
    ["", "hunter2000", "$2b$12$" + "a" * 53, HASH.replace("argon2id", "argon2i"), HASH.replace("m=19456", "m=1048576"),
     HASH.replace("t=2", "t=1"), HASH[:-1], HASH + "A", HASH + "\n"],
)  # fmt: skip
async def test_only_one_form_and_cost_of_a_hash_is_taken_and_what_is_none_is_not_quoted(db, written):
    await make_tenant(db)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await db.execute(CREDENTIAL, "alice", written, "acme")
    assert refused.value.constraint_name == "password_hash_is_argon2id_of_19_mib_two_passes_one_lane"
    assert refused.value.detail is None
    assert not written or written not in str(refused.value)


async def test_the_hash_of_a_password_is_never_logged(db):
    await make_tenant(db)
    before = await head(db)
    await db.execute(CREDENTIAL, "alice", HASH, "acme")
    await db.execute("update policy.smtp_credential set enabled = false")
    await db.execute("update policy.smtp_credential set password_hash = $1", HASH.replace("BB", "CC"))
    await db.execute("update policy.smtp_credential set username = 'bob'")
    await db.execute("delete from policy.smtp_credential")
    log = await changes(db, before)
    assert [change.op for change in log[:3]] == ["insert", "update", "update"]
    assert sorted((change.op, *change.tags) for change in log[3:]) == [
        ("delete", "smtp_credential/alice"), ("delete", "smtp_credential/bob"), ("insert", "smtp_credential/bob"),
    ]  # fmt: skip
    assert log[2].new is not None
    assert log[2].new["password_hash"] == "changed"
    told = json.dumps([[change.old, change.new, change.key] for change in log])
    assert "canary" not in told
    assert "argon2id" not in told
    for said in (HASH, "anything"):
        with pytest.raises(asyncpg.CheckViolationError, match="hashes_of_passwords_are_never_logged"):
            await db.execute(
                "insert into policy.change (revision, \"table\", op, key, new, tags) values (0, 'smtp_credential', 'insert', '{}', $1, '{a}')",
                json.dumps({"password_hash": said}),
            )


async def test_who_may_see_a_hash_and_who_may_make_credentials(db):
    await make_tenant(db)
    await db.execute(CREDENTIAL, "alice", HASH, "acme")
    public = "select username, tenant, networks, enabled, expires_at, tag from policy.smtp_credential"
    hidden = (
        "select password_hash from policy.smtp_credential",
        "select body from policy.smtp_credential_document",
    )
    async with acting_as(db, "policyd_service"):
        assert HASH in await db.fetchval("select body from policy.smtp_credential_document")
        await denied(
            db, "delete from policy.smtp_credential", "update policy.smtp_credential set enabled = false"
        )
    async with acting_as(db, "policyd_reader"):
        await db.execute(public)
        await denied(db, *hidden, "delete from policy.smtp_credential")
    async with acting_as(db, "policyd_editor"):
        await db.execute(CREDENTIAL, "bob", HASH, "acme")
        await db.execute(public)
        await db.execute(
            "update policy.smtp_credential set enabled = false, networks = '{10.0.0.0/8}' where username = 'bob'"
        )
        await denied(
            db, *hidden,
            "update policy.smtp_credential set password_hash = (select b.password_hash from policy.smtp_credential as b limit 1)",
        )  # fmt: skip
        await db.execute("delete from policy.smtp_credential where username = 'bob'")
    async with acting_as(db, "policyd_owner"):
        assert await db.fetchval(hidden[0]) == HASH


async def test_a_credential_that_may_log_in_but_not_send_is_warned_of(db):
    await db.execute(
        "insert into policy.tenant (name, require_authz) values ('acme', '{alice}'), ('open', null), ('shut', '{}')"
    )
    warnings: list[str] = []
    db.add_log_listener(lambda _, message: warnings.append(message.message))
    for username, tenant in (("alice", "acme"), ("bob", "open"), ("carol", "acme"), ("dave", "shut")):
        await db.execute(CREDENTIAL, username, HASH, tenant)
    await db.fetchval("select 1")
    assert warnings == [
        f"may log in, but not send: '{username}' (tenant '{tenant}'), because require_authz of the tenant does not list it"
        for username, tenant in (("carol", "acme"), ("dave", "shut"))
    ]


async def test_tags_of_odd_usernames_are_what_policy_tag_writes(db):
    await make_tenant(db)
    names = ("alice", "Alice@Example.com", "a/b%c", "%2F", "bücher", "名前", "a b", "'; drop", "-", "u" * 255)
    for name in names:
        if name != "Alice@Example.com":
            await db.execute(CREDENTIAL, name, HASH, "acme")
    assert (
        await db.fetch(
            "select tag from policy.smtp_credential where tag <> policy.tag('smtp_credential', username)"
        )
        == []
    )
    assert (
        await db.fetch(
            "select from policy.smtp_credential s where not exists (select from policy.smtp_credential_document d where d.tag = s.tag)"
        )
        == []
    )
