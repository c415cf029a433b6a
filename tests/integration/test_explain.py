"""Why an answer is what it is."""

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner

from policyd.cli.asking import ServiceUnavailable, show_explanation
from policyd.cli.main import policyd, status_of, told
from policyd.policy.token import SCOPES
from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, head, make_config, make_token, serving
from tests.integration.signing import KeyFiles
from tests.integration.wire import assert_problem, wire
from tests.unit.keys.pems import ed25519_pem, rsa_pem

HASH = "$argon2id$v=19$m=19456,t=2,p=1$CanaryCanaryCanaryCanA$CanaryCanaryCanaryCanaryCanaryCanaryCanaryC"
ROWS = """
update policy.queue_settings set tenant_header = 'X-T';
insert into policy.egress_source (name, source_address) values ('a', '192.0.2.1'), ('b', '192.0.2.2');
insert into policy.egress_pool (name) values ('shared'), ('gold'), ('none');
insert into policy.egress_pool_entry (pool, source, weight) values ('shared', 'a', 3), ('shared', 'b', 1), ('gold', 'a', 0);
insert into policy.egress_pool_group (name, node_group) values ('gold', 'eu');
insert into policy.egress_pool_group_entry (pool, node_group, source) values ('gold', 'eu', 'b');
update policy.queue set egress_pool = 'shared' where domain = 'default';
insert into policy.tenant (name, egress_pool, require_authz) values ('acme', 'gold', '{joe}'), ('free', null, null), ('shut', null, '{}');
insert into policy.queue (domain, options) values ('*.com', '{"max_age": 60}');
insert into policy.queue_tenant (domain, tenant) values ('*.com', 'acme');
insert into policy.listener_domain (domain, relay_to, relay_from) values ('*.example.com', true, null), ('a.org', null, '{10.0.0.0/8,192.0.2.1}');
insert into policy.listener_domain (listener, domain) values ('mx:25', 'a.org');
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain, algorithm, not_before, not_after) values
  ('*.example.com', null, null, null), ('off.example.com', null, null, '2020-01-01 00:00+00'), ('later.example.com', null, '2990-01-01 06:30+00', null),
  ('mixed.example.com', 'ed25519', null, '2990-01-01 00:00+00');
insert into policy.dkim_signature (name, domain, policy) values ('us', 'us.example', 'OnlyIfMissingDomainBlock'), ('old', 'old.example', 'Always');
update policy.dkim_signature set not_after = '2020-01-01 00:00+00' where name = 'old';
insert into policy.shaping_domain (domain, options) values ('default', '{"connection_limit": 10}'), ('gmail.com', '{"connection_limit": 3}');
insert into policy.shaping_provider (name, options) values ('google', '{"connection_limit": 5, "max_message_rate": "50/s"}');
insert into policy.shaping_provider_match (provider, rule, value) values ('google', 'MXSuffix', '.google.com');
"""
CREDENTIALS = f"""
insert into policy.smtp_credential (username, tenant, password_hash, networks, expires_at) values
  ('joe', 'acme', '{HASH}', '{{10.0.0.0/8}}', '2990-01-01 00:00+00'), ('ann', 'acme', '{HASH}', null, '2020-01-01 00:00+00');
update policy.smtp_credential set enabled = false where username = 'ann';
"""


async def asked(service: Service, path: str) -> dict[str, Any]:
    async with service.session.get(service.admin_url + "/explain" + path) as response:
        body: dict[str, Any] = await response.json()
        assert response.status == 200, body
        return body


async def steps(service: Service, path: str) -> list[str]:
    marks = {True: "+", False: "-", None: " "}
    return [f"{marks[each['counts']]} {each['says']}" for each in (await asked(service, path))["steps"]]


@pytest.fixture
async def explained(service: Service, db: Connection, key_directory: Any) -> Service:
    """A service on rows that say something of everything."""
    keys = KeyFiles(key_directory)
    keys.write("x.example.com/s1", ed25519_pem())
    keys.write("mixed.example.com/s1", rsa_pem())
    await db.execute(ROWS + CREDENTIALS)
    await service.reach(await head(db))
    return service


async def test_explain_shows_each_field_with_its_document_and_those_that_it_overrode(
    explained: Service,
) -> None:
    found = await asked(explained, "/queue/gmail.org?tenant=acme")
    pool = next(each for each in found["fields"] if each["field"] == "options.egress_pool")
    assert pool == {
        "field": "options.egress_pool",
        "value": "gold",
        "from": "tenant/acme",
        "overrode": [{"from": "queue/default", "value": "shared"}],
    }
    assert {"document": "queue/gmail.org", "exists": False} in found["looked_for"]
    assert {"document": "tenant/acme", "exists": True} in found["looked_for"]


STORIES: list[tuple[str, list[str]]] = [
    ("/queue/a.com?tenant=acme&campaign=c", [
        "+ the default lies under all queues",
        "+ the nearest row is that of *.com; there is none for a.com",
        "+ tenant acme is laid over that",
        "+ what this queue says of the tenant is laid over that",
        "- this queue says nothing of the campaign",
        "+ so the mail leaves by pool gold",
    ]),
    ("/queue/a.org?tenant=who", [
        "+ the default lies under all queues",
        "- there is no row for a.org: none of a.org, *.org, *",
        "- there is no tenant who",
        "- so the mail waits: nobody knows its tenant, and on_missing is hold",
    ]),
    ("/tenant/acme", ["+ only who has logged in as joe may send as it", "  its mail leaves by pool gold, unless it has a queue of its own that says otherwise"]),
    ("/tenant/shut", ["- require_authz is empty: nobody may send as it", "  it names no pool, unless it has a queue of its own that says otherwise"]),
    ("/tenant/who", ["- there is no tenant who: nodes refuse its messages (500)"]),
    ("/egress-pool/shared", ["+ source a has weight 3 of 4", "+ source b has weight 1 of 4"]),
    ("/egress-pool/gold", ["- source a has weight 0", "- so its mail waits: there is no source to choose"]),
    ("/egress-pool/none", ["- so its mail waits: there is no source to choose"]),
    ("/egress-pool/gold?group=eu", ["+ group eu has a form of its own", "+ source b has weight 1 of 1"]),
    ("/egress-source/a?group=eu", ["+ group eu has no form of its own: that of all nodes holds"]),
    ("/egress-source/z", ["- there is none that is called z"]),
    ("/listener-domain/x.y.example.com", ["+ the nearest row is that of *.example.com; there is none for x.y.example.com, *.y.example.com", "+ so mail to it is accepted from anybody"]),
    ("/listener-domain/a.org?listener=mx:25", ["+ there is a row for a.org itself", "  it is listener mx:25's own, and stands instead of those of all listeners", "- so nothing is relayed for it"]),
    ("/listener-domain/a.org?listener=x:25", ["+ the nearest row is that of a.org; there is none for a.org, *.org, *", "  listener x:25 has none of its own for it: that of all listeners holds", "+ so mail from it is accepted from 10.0.0.0/8 and 192.0.2.1"]),
    ("/listener-domain/", ["- there is no row for the empty name (the null sender): none of *", "- so nothing is relayed for the empty name (the null sender), but for the listener's relay_hosts"]),
    ("/dkim/x.example.com", [
        "+ the nearest row is that of *.example.com; there is none for x.example.com",
        "+ it signs with d=x.example.com",
        "- dkim_settings adds no signature to everybody's mail",
    ]),
    ("/dkim/off.example.com", [
        "+ there is a row for off.example.com itself",
        "- it signed until 2020-01-01 00:00 UTC; meanwhile no wildcard above it signs instead",
        "- dkim_settings adds no signature to everybody's mail",
        "- so nothing signs for off.example.com: its mail goes out unsigned",
    ]),
    ("/dkim/later.example.com", [
        "+ there is a row for later.example.com itself",
        "- it signs from 2990-01-01 06:30 UTC on; meanwhile no wildcard above it signs instead",
        "- dkim_settings adds no signature to everybody's mail",
        "- so nothing signs for later.example.com: its mail goes out unsigned",
    ]),
    ("/dkim/mixed.example.com", [
        "+ there is a row for mixed.example.com itself",
        "+ it signs with d=mixed.example.com, until 2990-01-01 00:00 UTC",
        "- dkim_settings adds no signature to everybody's mail",
        "- d=mixed.example.com s=s1: key mixed.example.com/s1 in root default cannot be used: it is for another algorithm than the row says",
        "- so mail waits for its key (451), and is looked at again every ten seconds",
    ]),
    ("/dkim/nokey.example.com", [
        "+ the nearest row is that of *.example.com; there is none for nokey.example.com",
        "+ it signs with d=nokey.example.com",
        "- dkim_settings adds no signature to everybody's mail",
        "- d=nokey.example.com s=s1: key nokey.example.com/s1 in root default cannot be used: there is none",
        "- so mail waits for its key (451), and is looked at again every ten seconds",
    ]),
    ("/dkim/a.org", [
        "- there is no row for a.org: none of a.org, *.org, *",
        "- dkim_settings adds no signature to everybody's mail",
        "- so nothing signs for a.org: its mail goes out unsigned",
    ]),
    ("/dkim/us.example/s1", [
        "+ where the key of us.example and s1 is without a row saying so: key us.example/s1 in root default",
        "  /dkim/us.example says which key is there; the key itself is told to nobody here",
    ]),
    ("/smtp-auth/joe?peer=192.0.2.9", [
        "+ it is enabled",
        "+ it ends at 2990-01-01 00:00 UTC",
        "- 192.0.2.9 is not in 10.0.0.0/8",
        "+ it sends for tenant acme alone: it is in require_authz",
        "  whether the password is right, and whether there were too many wrong ones, is not asked here",
    ]),
    ("/smtp-auth/ann", [
        "- it is disabled",
        "- it ended at 2020-01-01 00:00 UTC",
        "- it sends for tenant acme alone: it is not in require_authz",
        "  whether the password is right, and whether there were too many wrong ones, is not asked here",
    ]),
    ("/smtp-auth/Joe", ["- there is no credential Joe; names are compared letter by letter"]),
]  # fmt: skip


async def test_explain_tells_each_kind_step_by_step(explained: Service) -> None:
    for path, expected in STORIES:
        told = await steps(explained, path)
        assert told[: len(expected)] == expected, path
        if not path.startswith("/dkim/x"):
            assert len(told) == len(expected), (path, told)
    signed = await steps(explained, "/dkim/x.example.com")
    assert signed[3].startswith("+ d=x.example.com s=s1: key x.example.com/s1 in root default is ")
    assert signed[3].endswith("…, for ed25519")
    assert signed[4] == "+ so each message gets 1 signature"


async def test_additional_signatures_are_told_of_one_by_one(explained: Service, db: Connection) -> None:
    await db.execute(
        "insert into policy.dkim_additional_signature (position, signature) values (0, 'old'), (1, 'us')"
    )
    await explained.reach(await head(db))
    assert (await steps(explained, "/dkim/x.example.com"))[2:4] == [
        "- signature old: it signed until 2020-01-01 00:00 UTC",
        "- signature us is only for domains that do not sign themselves",
    ]
    assert (await steps(explained, "/dkim/off.example.com"))[2:4] == [
        "- signature old: it signed until 2020-01-01 00:00 UTC",
        "+ signature us is added, with d=us.example",
    ]


async def test_shaping_is_explained_by_section(explained: Service) -> None:
    found = await asked(
        explained, "/shaping/GMAIL.com?source=a&mx=gmail-smtp-in.l.google.com.,alt1.google.com"
    )
    assert found["path"] == "/shaping/gmail.com?source=a&mx=gmail-smtp-in.l.google.com%2Calt1.google.com"
    fields = {each["field"]: each for each in found["fields"]}
    assert fields["connection_limit"] == {
        "field": "connection_limit",
        "value": 3,
        "from": "shaping gmail.com",
        "overrode": [
            {"from": "shaping provider google", "value": 5},
            {"from": "shaping default", "value": 10},
        ],
    }
    assert fields["max_message_rate"]["from"] == "shaping provider google"
    assert fields["provider_name"]["value"] == "google"
    told = await steps(explained, "/shaping/a.com")
    assert (
        "- provider google: it is if each MX of a.com ends with .google.com: say them, mx=HOST,HOST" in told
    )


async def test_every_kind_can_be_explained_and_what_is_none_is_a_problem(explained: Service) -> None:
    for path in ("/queue-settings", "/webhooks", "/shaping.json", "/shaping.toml"):
        assert (await asked(explained, path))["steps"] == []
    for path, status, problem in (
        ("/explain/nothing", 404, "no-route"),
        ("/explain/smtp-auth/joe?peer=nowhere", 400, "lookup-invalid"),
        ("/explain/dkim/*.a.com/s1", 400, "lookup-invalid"),
        ("/explain/dkim/a.com/s1?key_id=1", 400, "lookup-invalid"),
        ("/explain/shaping/", 400, "lookup-invalid"),
    ):
        async with wire(explained.admin_url) as connection:
            assert_problem(await connection.get(path), status, problem)


async def test_no_hash_and_no_key_is_in_an_explanation(explained: Service) -> None:
    said = str([await asked(explained, path) for path, _ in STORIES])
    assert "canary" not in said.lower()
    assert "PRIVATE KEY" not in said
    assert "password_hash" not in said


async def test_an_explanation_is_printed_with_its_steps(
    explained: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    show_explanation(await asked(explained, "/dkim/off.example.com"), Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "✓ there is a row for off.example.com itself (dkim_domain/off.example.com)"
    assert lines[4] == "✗ so nothing signs for off.example.com: its mail goes out unsigned"
    assert "Nothing is there." in lines


async def test_explain_needs_the_admin_scope(service: Service, db: Connection) -> None:
    await make_token(db, "weak.0123456789abcdefghij", tuple(scope for scope in SCOPES if scope != "admin"))
    for token, status in (("x.0123456789abcdefghij", 401), ("weak.0123456789abcdefghij", 403)):
        for path in ("/explain/queue/gmail.com", "/explain/smtp-auth/joe", "/explain/dkim/a.com/s1"):
            headers = {"Authorization": f"Bearer {token}"}
            async with service.session.get(service.admin_url + path, headers=headers) as response:
                assert response.status == status
                assert response.content_type == "application/problem+json"


async def test_what_cannot_be_known_in_an_outage_is_a_status_of_its_own_and_says_what_to_do():
    async with serving(make_config("postgresql://127.0.0.1:1/nowhere")) as service:
        runner = CliRunner(env={"POLICYD_CLIENT_URL": service.url, "POLICYD_CLIENT_TOKEN": TOKEN})
        done = await asyncio.to_thread(runner.invoke, policyd, ["lookup", "/queue/gmail.com"])
    assert isinstance(done.exception, ServiceUnavailable)
    assert status_of(done.exception) == 3
    assert told(done.exception).splitlines()[1].startswith("  next: policyd doctor")
