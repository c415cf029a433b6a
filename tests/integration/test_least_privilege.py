"""
Nobody has more rights than docs/postgresql.md and sql/README.md give out, and nobody needs more.

The schema is migrated by a role that is no superuser and may make no roles; the service, an editor, an owner and a
reader log in as roles of their own, each a member of its one group role.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from policyd.errors import StatementRefused
from policyd.observe.events import BackendLost, BackendReached, KeyChanged
from policyd.passwords import hash_password
from policyd.policy.kinds import DOCUMENT_KINDS
from policyd.store.migrate import check_schema, migrate
from policyd.store.pool import Connection
from tests.conftest import Postgres, connection_to
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.signing import RESTLESS, KeyFiles, fingerprint
from tests.unit.keys.pems import rsa_pem

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUPS = ("policyd_owner", "policyd_editor", "policyd_service", "policyd_reader")
PASSWORD = "correct horse battery staple"

BY_THE_EDITOR = """
insert into policy.listener_domain (domain, relay_to) values ('a.example', true);
insert into policy.egress_source (name, source_address) values ('s', '192.0.2.1');
insert into policy.egress_pool (name) values ('p');
insert into policy.egress_pool_entry (pool, source) values ('p', 's');
insert into policy.tenant (name, egress_pool) values ('acme', 'p');
insert into policy.queue (domain) values ('gmail.com');
insert into policy.shaping_domain (domain, mx_rollup) values ('gmail.com', true);
insert into policy.webhook (name, url, events) values ('w', 'https://hooks.example/', '{Delivery}');
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain) values ('a.example'), ('b.example');
"""

REQUESTS: dict[tuple[str, str], list[tuple[str, Any]]] = {
    ("get", "/listener-domain/{domain}"): [("/listener-domain/a.example", None)],
    ("get", "/egress-source/{name}"): [("/egress-source/s", None)],
    ("get", "/egress-pool/{name}"): [("/egress-pool/p?group=eu", None)],
    ("get", "/tenant/{name}"): [("/tenant/acme", None)],
    ("get", "/queue-settings"): [("/queue-settings", None)],
    ("get", "/queue/{domain}"): [("/queue/gmail.com?tenant=acme&campaign=x", None)],
    ("get", "/dkim/{domain}"): [("/dkim/a.example", None)],
    ("get", "/dkim/{domain}/{selector}"): [("/dkim/a.example/s1", None)],
    ("get", "/shaping.json"): [("/shaping.json", None)],
    ("get", "/shaping.toml"): [("/shaping.toml", None)],
    ("get", "/webhooks"): [("/webhooks", None)],
    ("get", "/names/{kind}"): [(f"/names/{kind}", None) for kind in DOCUMENT_KINDS],
    ("get", "/changes"): [("/changes", None), ("/changes?position={head}&wait=0", None)],
    ("post", "/batch"): [("/batch", ["/queue/gmail.com", "/tenant/acme"])],
    ("post", "/smtp-auth"): [
        ("/smtp-auth", {"username": "alice", "password": PASSWORD, "peer": "192.0.2.9"})
    ],
    ("put", "/nodes/{id}"): [("/nodes/mx-1", {"kumomta_version": version}) for version in (None, "2026.08.04")],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """A database set up as docs/postgresql.md says, and who may log in to it."""

    logins: dict[str, str]
    """DSNs by group role; `migrator` is who owns the schema, `stranger` is a member of nothing."""

    @contextlib.asynccontextmanager
    async def acting_as(self, role: str) -> AsyncIterator[Connection]:
        async with connection_to(self.logins[role]) as connection:
            yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: Postgres) -> AsyncIterator[Site]:
    unique = uuid.uuid4().hex[:8]
    database = f"policyd_test_least_{unique}"
    roles = {name: f"test_{name}_{unique}" for name in (*GROUPS, "migrator", "stranger")}
    async with postgres.administrator() as connection:
        for name, role in roles.items():
            await connection.execute(f"create role {role} login password 'p'")
            if name in GROUPS:
                await connection.execute(f"grant {name} to {role}")
        await connection.execute(f"create database {database} template template0 owner {roles['migrator']}")
    made = Site({name: _as_login(postgres.dsn(database), role) for name, role in roles.items()})
    async with made.acting_as("migrator") as connection:
        await migrate(connection)
    async with made.acting_as("policyd_owner") as connection:
        await make_token(connection)
    async with made.acting_as("policyd_editor") as connection:
        await connection.execute(BY_THE_EDITOR)
    async with made.acting_as("policyd_owner") as connection:
        await connection.execute(
            "insert into policy.smtp_credential (username, password_hash, tenant) values ('alice', $1, 'acme')",
            hash_password(PASSWORD),
        )
    yield made
    await postgres.drop(database)
    async with postgres.administrator() as connection:
        await connection.execute(f"drop role {', '.join(roles.values())}")


def _as_login(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:p@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    return KeyFiles(tmp_path_factory.mktemp("keys"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modest(site: Site, keys: KeyFiles) -> AsyncIterator[Service]:
    """A service that logs in as a member of policyd_service alone."""
    keys.write("a.example/s1", rsa_pem())
    keys.write("b.example/s1", rsa_pem())
    config = replace(make_config(site.logins["policyd_service"], keys=keys.directory), dkim=RESTLESS)
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield service


async def ask(service: Service, method: str, path: str, body: Any) -> tuple[int, str]:
    async with service.session.request(method, service.url + path, json=body) as response:
        return response.status, await response.text()


async def test_every_kind_of_request_is_answered(site: Site, modest: Service) -> None:
    _, document, _ = await modest.get("/openapi.json")
    routes = {(method, path) for path, item in document["paths"].items() for method in item}
    assert routes == set(REQUESTS), "a new route has to be asked here, too"
    async with site.acting_as("policyd_reader") as connection:
        position = await head(connection)
    for (method, _), requests in REQUESTS.items():
        for path, body in requests:
            status, text = await ask(modest, method, path.format(head=position), body)
            assert status in (200, 204), (path, status, text)
    _, login, _ = await modest.post("/smtp-auth", REQUESTS["post", "/smtp-auth"][0][1])
    assert login["authenticated"]


async def test_an_administrator_is_answered(modest: Service) -> None:
    for path in ("/livez", "/readyz?verbose", "/metrics", "/explain/queue/gmail.com?tenant=acme"):
        async with modest.session.get(modest.admin_url + path) as response:
            assert response.status == 200, (path, await response.text())


async def test_serve_finds_the_schema_usable(site: Site) -> None:
    async with site.acting_as("policyd_service") as connection:
        await check_schema(connection)


async def test_an_editor_s_change_is_heard_and_old_positions_are_told_from_the_log(
    site: Site, modest: Service
) -> None:
    async with site.acting_as("policyd_editor") as connection:
        before = await head(connection)
        oldest = await connection.fetchrow(
            "select number, stamp from policy.revision order by number limit 1"
        )
        await connection.execute("insert into policy.tenant (name) values ('heard')")
        after = await head(connection)
    status, changes, _ = await modest.get(f"/changes?position={before}&wait=20")
    assert (status, changes["position"], list(changes["tags"])) == (200, after, ["tenant/heard"])
    status, body, _ = await modest.get("/tenant/heard", Policy_Position=after)
    assert status == 200, body
    assert oldest is not None
    status, changes, _ = await modest.get(f"/changes?position={oldest['number']}-{oldest['stamp']}")
    assert (status, changes["reset"], "tenant/acme" in changes["tags"]) == (200, False, True)


async def test_a_key_that_was_replaced_becomes_a_revision(
    site: Site, modest: Service, keys: KeyFiles
) -> None:
    status, body, _ = await modest.get("/dkim/b.example")
    assert status == 200, body
    replaced = rsa_pem(number=1)
    keys.write("b.example/s1", replaced)
    await modest.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
    async with site.acting_as("policyd_reader") as connection:
        known = await connection.fetchval(
            "select key_id from policy.dkim_key_seen where name = 'b.example/s1'"
        )
        actor = await connection.fetchval("select actor from policy.revision order by number desc limit 1")
    assert known == fingerprint(replaced)
    assert actor.startswith("test_policyd_service")


async def test_a_service_without_its_rights_says_who_has_them(site: Site) -> None:
    async with serving(make_config(site.logins["policyd_reader"])) as service:
        lost = await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost))
        assert isinstance(lost, BackendLost)
        assert "member of policyd_service" in lost.reason
        # Who may not read the log has not reached anything: "reached" after every attempt would hide that.
        assert not any(isinstance(seen, BackendReached) for seen in service.observations.seen)


async def test_the_service_may_write_only_what_nodes_report(site: Site) -> None:
    async with site.acting_as("policyd_service") as connection:
        assert await writable(connection) == {"node": {"INSERT", "UPDATE", "DELETE"}}
        assert await powers(connection) == {"note_dkim_key", "prune_some"}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select password_hash from policy.smtp_credential")


async def test_a_reader_may_write_nothing_and_see_no_hash(site: Site) -> None:
    async with site.acting_as("policyd_reader") as connection:
        assert await writable(connection) == {}
        assert await powers(connection) == set()
        for hidden in (
            "sha256 from policy.api_token",
            "password_hash from policy.smtp_credential",
            "body from policy.api_token_document",
            "body from policy.smtp_credential_document",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select {hidden}")


@pytest.mark.parametrize("role", ["policyd_owner", "policyd_editor"])
async def test_who_writes_policy_may_not_write_its_log(site: Site, role: str) -> None:
    log = {"revision", "change", "counter", "log_window", "migration", "option", "privilege"}
    async with site.acting_as(role) as connection:
        assert not log & set(await writable(connection))


async def test_a_stranger_sees_nothing(site: Site) -> None:
    async with site.acting_as("stranger") as connection:
        assert not await connection.fetchval("select has_schema_privilege('policy', 'usage')")


@pytest.mark.parametrize("role", GROUPS)
async def test_nobody_but_who_migrates_makes_anything_in_the_schema(site: Site, role: str) -> None:
    async with site.acting_as(role) as connection:
        assert not await connection.fetchval(
            "select has_schema_privilege('policy', 'create') or has_database_privilege(current_database(), 'create')"
        )


async def test_who_migrates_as_somebody_else_is_told_who_may(site: Site) -> None:
    async with site.acting_as("migrator") as connection:
        owner = await connection.fetchval("select user")
        assert await migrate(connection) == []
    async with site.acting_as("policyd_owner") as connection:
        with pytest.raises(StatementRefused) as caught:
            await migrate(connection)
    assert f"the database belongs to {owner}" in (caught.value.hint or "")


async def test_who_owns_the_schema_is_no_superuser(site: Site) -> None:
    async with site.acting_as("migrator") as connection:
        assert not await connection.fetchval(
            "select rolsuper or rolcreaterole from pg_roles where rolname = user"
        )
        owners = await connection.fetch(
            "select distinct relowner::regrole::text from pg_class where relnamespace = 'policy'::regnamespace"
        )
        assert [row[0] for row in owners] == [await connection.fetchval("select user")]


async def writable(connection: Connection) -> dict[str, set[str]]:
    """Which tables of the schema this login may write, a column of them at least, and how."""
    rows = await connection.fetch(
        """
        select c.relname, p.privilege
          from pg_class as c
         cross join unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) as p (privilege)
         where c.relnamespace = 'policy'::regnamespace and c.relkind in ('r', 'v', 'p')
           and case when p.privilege in ('INSERT', 'UPDATE', 'REFERENCES') then has_any_column_privilege(c.oid, p.privilege)
                    else has_table_privilege(c.oid, p.privilege) end
        """
    )
    found: dict[str, set[str]] = {}
    for name, privilege in rows:
        found.setdefault(name, set()).add(privilege)
    return found


async def powers(connection: Connection) -> set[str]:
    """The functions with their owner's rights that this login may call; triggers cannot be called."""
    rows = await connection.fetch(
        """
        select proname from pg_proc
         where pronamespace = 'policy'::regnamespace and (prosecdef or prokind = 'p') and prorettype <> 'trigger'::regtype
           and has_function_privilege(oid, 'execute')
        """
    )
    return {row[0] for row in rows}
