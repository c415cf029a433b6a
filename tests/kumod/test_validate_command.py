"""`policyd validate --kumod`: the real constructors judge every document."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from policyd.cli.validating import validate_command
from policyd.operate.importing import import_rows
from policyd.operate.kumod_documents import to_be_judged
from policyd.store.checks import read_bodies
from policyd.store.pool import Connection
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract import recorded
from tests.kumod.process import binary

EXAMPLE = Path(__file__).parents[2] / "deploy/example"
BROKEN = """
set local session_replication_role = replica;
insert into policy.queue (domain, options) values ('a.com', '{"max_agee": 1}'), ('b.com', '{"max_age": 5.5, "retry_interval": "soon"}');
insert into policy.listener_domain (domain, relay_from) values ('a.com', '{10.0.0.1/8}');
insert into policy.egress_source (name, source_address, socks5_proxy_password) values ('s', 'nowhere', '{"secret": "canary"}');
insert into policy.tenant (name, overall_max_message_rate) values ('t', 'often');
insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('t', 'c', '0/s');
insert into policy.shaping_domain (domain, options) values ('a.com', '{"enable_tls": "Maybe"}'), ('b.com', '{}');
insert into policy.shaping_domain_automation (domain, position, regex, action, duration) values ('b.com', 1, '{(x}', '["Suspend"]', '60');
insert into policy.shaping_provider (name, provider_connection_limit) values ('big', '0');
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain, header_canonicalization) values ('*.a.com', 'relaxed');
"""


async def run(dsn: str, *arguments: str) -> Result:
    written = [f"--set=database.dsn={dsn}", f"--kumod={binary()}", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, validate_command, written)


async def test_the_example_is_what_kumod_takes(dsn: str, db: Connection) -> None:
    files = [read_helper_file(path.name, path.read_text()) for path in sorted(EXAMPLE.glob("*.toml"))]
    await import_rows(db, transfer(files), dry_run=False, actor=None, reason="example")
    result = await run(dsn)
    assert result.exit_code == 0, result.output
    assert "refused_by_kumod" not in result.output
    assert {
        "listener_domain",
        "egress_source",
        "egress_pool",
        "queue",
        "rate",
        "signer",
        "shaping",
        "egress_path",
    } == {each.kind for each in to_be_judged(await read_bodies(db))}


@pytest.mark.parametrize("name", recorded.SETS[:4])
async def test_what_kumods_own_helpers_took_its_constructors_take(
    dsn: str, db: Connection, name: str
) -> None:
    files = [
        read_helper_file(str(path), path.read_text()) for path in sorted(recorded.folder(name).glob("*.toml"))
    ]
    await import_rows(db, transfer(files), dry_run=False, actor=None, reason="recorded")
    result = await run(dsn)
    assert "refused_by_kumod" not in result.output, result.output


async def test_what_kumod_refuses_is_named_with_its_reason_and_no_secret(dsn: str, db: Connection) -> None:
    async with db.transaction():
        await db.execute(BROKEN)
    result = await run(dsn, "--all")
    assert result.exit_code == 1
    _, _, told = result.output.partition("error refused_by_kumod: ")
    for document, reason in {
        "queue/a.com": "unknown field `max_agee`",
        "queue/b.com": "soon",
        "listener_domain/*/a.com": "Did you mean 10.0.0.0/8?",
        "egress_source/*/s": "invalid IP address syntax",
        "tenant/t": "overall_max_message_rate: ",
        "tenant/t: campaign 'c'": "limit must be greater than 0",
        "shaping: domain 'a.com'": "unknown variant `Maybe`",
        "shaping: domain 'b.com'": "Opening parenthesis without closing parenthesis",
        "shaping: provider 'big'": "limit",
        "dkim_domain/*.a.com": "unknown variant `relaxed`",
    }.items():
        assert any(document in line and reason in line for line in told.splitlines()), (document, told)
    assert "canary" not in told
    assert "while processing" not in told
