"""A newer policyd has migrated the database: the older one beside it goes on, unless the schema means something else now."""

import pytest

from policyd.errors import DatabaseUnavailable, SchemaIncompatible
from policyd.store.changes import read_changes
from policyd.store.database import Database
from policyd.store.documents import read_documents, read_names
from policyd.store.pool import Connection
from tests.integration.conftest import head, make_config, make_token
from tests.integration.outage import KNOWN, ROWS, UNKNOWN, impatient, watching
from tests.integration.processes import process
from tests.integration.proxy import proxying

BREAKING = "insert into policy.migration (number, name, breaking) values (9001, '9001_new.sql', true)"
# What a release may bring that older ones know nothing of: a kind, a column, more in documents, what nodes report.
HARMLESS = """
create table policy.future (name text primary key, tag text generated always as ('future/' || name) stored);
insert into policy.option (object, name, format) values ('listener_domain', 'novelty', 'text');
alter table policy.listener_domain add column novelty text not null default 'new';
alter table policy.node add column novelty text;
create or replace view policy.tenant_document as
  select tag, body || '{"novelty": 1}'::jsonb as body from (%s) older;
insert into policy.migration (number, name) values (9001, '9001_new.sql');
"""

# The log speaks of the new kind as of every other.
OF_A_NEW_KIND = """
insert into policy.change (revision, "table", key, op, new, tags)
  select policy.take_revision(), 'future', '["x"]', 'insert', '{}', array['future/x'];
insert into policy.change (revision, op, tags, kind) select policy.take_revision(), 'floor', '{}', 'future';
"""


async def test_no_statement_reads_what_a_breaking_migration_has_changed(db: Connection) -> None:
    await db.execute(BREAKING)
    for reading in (
        read_documents(db, ["tenant/acme"]),
        read_names(db, "tenant", after="", limit=10),
        read_changes(db, None, most_tags=10),
    ):
        with pytest.raises(SchemaIncompatible) as caught:
            await reading
        assert caught.value.found == 9001


async def test_a_service_that_started_without_postgresql_does_not_follow_a_schema_that_it_would_misread(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    await db.execute(ROWS)
    async with proxying(dsn) as proxy:
        proxy.cut()
        async with watching(proxy.dsn) as watched:
            await watched.lost("unreachable", after=0)
            await db.execute(BREAKING)
            proxy.heal()
            assert "newer than this policyd" in (await watched.lost("schema", after=0)).reason
            assert (await watched.service.get(KNOWN))[0] == 503
            await db.execute("delete from policy.migration where number = 9001")
            await watched.current()
            assert (await watched.service.get(KNOWN))[0] == 200


async def test_a_schema_that_is_too_old_is_waited_for(dsn: str, db: Connection) -> None:
    await make_token(db)
    newest = await db.fetchrow("delete from policy.migration where number = 31 returning name")
    assert newest is not None
    async with watching(dsn) as watched:
        assert "run policyd migrate" in (await watched.lost("schema", after=0)).reason
        await db.execute("insert into policy.migration (number, name) values (31, $1)", newest["name"])
        await watched.current()


async def test_old_and_new_version_answer_side_by_side_after_a_migration_that_breaks_nothing(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    await db.execute(ROWS)
    await db.execute("insert into policy.tenant (name) values ('acme')")
    async with watching(dsn) as watched:
        await watched.current()
        assert (await watched.service.get(KNOWN))[0] == 200
        body = await db.fetchval("select pg_get_viewdef('policy.tenant_document'::regclass)")
        await db.execute(HARMLESS % body.rstrip("; "))
        before = await head(db)
        await db.execute(OF_A_NEW_KIND)
        await db.execute("insert into policy.listener_domain (domain) values ('unknown.example')")
        position = await head(db)
        for path in (UNKNOWN, KNOWN, "/tenant/acme"):
            assert (await watched.service.get(path, Policy_Position=position))[0] == 200
        status, news, _ = await watched.service.get(f"/changes?position={before}")
        assert (status, news["position"], news["reset"]) == (200, position, False)
        assert "listener_domain/*/unknown.example" in news["tags"]
        async with watching(dsn) as late:
            await late.current()
            assert (await late.service.get(UNKNOWN, Policy_Position=position))[0] == 200


async def test_the_service_says_of_a_refused_statement_what_it_is_about(dsn: str, db: Connection) -> None:
    database = Database(impatient(make_config(dsn)).database, lambda _: None)
    await db.execute(BREAKING)
    with pytest.raises(DatabaseUnavailable, match="newer than this policyd") as caught:
        await database.read_documents(["tenant/acme"])
    assert caught.value.trouble == "schema"
    await database.close()


async def test_a_service_does_not_start_on_a_schema_that_it_would_misread_and_says_what_to_do(
    dsn: str, db: Connection
) -> None:
    await db.execute(BREAKING)
    async with process(dsn) as service:
        assert await service.ended() == 1
    told = " ".join(line["message"] for line in service.lines)
    assert (
        "the database's schema is newer than this policyd: it was migrated to number 9001 (9001_new.sql)"
        in told
    )
    assert "next: run the policyd that migrated it" in told
