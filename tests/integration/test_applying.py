"""`policyd diff` and `policyd apply`: files say what the policy is."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from policyd.cli.applying import apply, diff
from policyd.cli.exporting import export
from policyd.cli.transfer import import_files
from policyd.errors import Conflict, PolicyInvalid
from policyd.store.pool import Connection

EXAMPLE = Path(__file__).parents[2] / "deploy/example"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$CanaryCanaryCanaryCanA$CanaryCanaryCanaryCanaryCanaryCanaryCanaryC"


async def run(command: click.Command, dsn: str, *arguments: str | Path) -> Result:
    written = [f"--set=database.dsn={dsn}", *(str(each) for each in arguments)]
    return await asyncio.to_thread(CliRunner().invoke, command, written)  # the command has a loop of its own


async def as_json(dsn: str, *arguments: str | Path) -> dict[str, Any]:
    result = await run(diff, dsn, "--json", *arguments)
    assert result.exit_code in (0, 5), (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def head(db: Connection) -> int:
    number: int = await db.fetchval("select max(number) from policy.revision")
    return number


@pytest.fixture
async def repository(dsn: str, tmp_path: Path) -> Path:
    """The example policy, in the database and as exported files."""
    assert (await run(import_files, dsn, EXAMPLE)).exit_code == 0
    assert (await run(export, dsn, tmp_path / "policy")).exit_code == 0
    return tmp_path / "policy"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_what_was_exported_differs_in_nothing_and_applies_as_nothing(
    dsn: str, db: Connection, repository: Path
) -> None:
    before = await head(db)
    result = await run(diff, dsn, repository)
    assert (result.exit_code, result.output) == (0, "No difference.\n")
    result = await run(apply, dsn, "--prune", "--reason", "nothing", repository)
    assert (result.exit_code, result.output) == (0, "No difference.\nNothing changed.\n")
    assert await head(db) == before


async def test_a_difference_is_shown_by_document_and_field_with_whom_it_touches_and_is_applied_once(
    dsn: str, db: Connection, repository: Path
) -> None:
    edit(
        repository / "sources.toml", "[pool.bulk.bulk-1]\nweight = 10\n", "[pool.bulk.bulk-1]\nweight = 20\n"
    )
    edit(
        repository / "queues.toml",
        '[queue."gmail.com".acme]\nmax_message_rate = "300/minute"',
        '[queue."gmail.com".acme]',
    )
    with (repository / "listener_domains.toml").open("a") as file:
        file.write('["new.example"]\nrelay_to = true\n')
    before = await head(db)
    result = await run(diff, dsn, repository)
    assert result.exit_code == 5
    assert result.output.splitlines() == [
        "~ egress_pool/*/bulk  (whoever names no pool)",
        "    entries.bulk-1.weight: 10 → 20",
        "~ queue/gmail.com/acme",
        '    options.max_message_rate: "300/minute" → nothing',
        "+ listener_domain/*/new.example",
        "    relay_to: true",
        "3 differences: 2 domains and 1 tenant touched, and everybody by egress_pool/*/bulk.",
    ]
    assert await head(db) == before
    dry = await run(apply, dsn, "--dry-run", repository)
    assert dry.output == result.output + "Dry run: nothing was changed.\n"
    assert await head(db) == before
    done = await run(apply, dsn, "--reason", "ticket 12", repository)
    assert done.output == result.output + f"Applied as revision {before + 1}.\n"
    assert (
        await db.fetchval("select reason from policy.revision where number = $1", before + 1) == "ticket 12"
    )
    assert (await run(diff, dsn, repository)).exit_code == 0
    assert "Nothing changed." in (await run(apply, dsn, repository)).output
    assert await head(db) == before + 1


async def test_for_other_programs_differences_are_json(dsn: str, db: Connection, repository: Path) -> None:
    await db.execute("update policy.tenant set egress_pool = 'acme' where name = 'hooli'")
    await db.execute(
        "update policy.shaping_provider set options = '{\"max_message_rate\": \"1/s\"}' where name = 'google'"
    )
    await db.execute("insert into policy.queue (domain) values ('only.example')")
    found = await as_json(dsn, repository)
    assert found["differences"] == [
        {
            "document": "tenant/hooli",
            "change": "changed",
            "fields": [{"field": "egress_pool", "old": "acme", "new": None}],
        },
        {
            "document": "shaping",
            "part": "provider google",
            "change": "changed",
            "fields": [
                {"field": "options.max_message_rate", "old": "1/s", "new": "50/s"},
                {"field": "options.max_deliveries_per_connection", "old": None, "new": 30},
            ],
        },
        {"document": "queue/only.example", "change": "removed", "fields": []},
    ]
    assert found["touches"] == {"domains": 1, "tenants": 1, "everybody": []}
    assert len((await as_json(dsn, "--files-only", repository))["differences"]) == 2


async def test_what_is_in_the_database_alone_stays_unless_it_is_pruned(
    dsn: str, db: Connection, repository: Path
) -> None:
    await db.execute("insert into policy.egress_source (name) values ('extra')")
    await db.execute("insert into policy.egress_pool (name) values ('extra')")
    await db.execute("insert into policy.egress_pool_entry (pool, source) values ('extra', 'extra')")
    await db.execute("insert into policy.tenant (name, egress_pool) values ('extra', 'extra')")
    await db.execute(
        "insert into policy.webhook (name, url, events, tenant) values ('w', 'https://a.example', '{Bounce}', 'extra')"
    )
    await db.execute("insert into policy.egress_pool_group (name, node_group) values ('extra', 'eu')")
    shown = await run(diff, dsn, repository)
    assert "- egress_pool/eu/extra  (1 tenant)\n" in shown.output
    assert "- tenant/extra\n" in shown.output
    assert "- webhook w\n" in shown.output
    assert "In the database alone: 5, which" in shown.output
    assert "Nothing changed." in (await run(apply, dsn, repository)).output
    before = await head(db)
    done = await run(apply, dsn, "--prune", "--reason", "they left", repository)
    assert done.exit_code == 0, (done.output, done.exception)
    assert await head(db) == before + 1
    for table in ("egress_source", "egress_pool", "tenant", "egress_pool_group"):
        assert await db.fetchval(f"select count(*) from policy.{table} where name = 'extra'") == 0
    assert await db.fetchval("select count(*) from policy.egress_pool where name = 'unspecified'") == 1
    assert (await run(diff, dsn, repository)).exit_code == 0


async def test_only_kinds_that_there_are_files_of_are_pruned(
    dsn: str, db: Connection, repository: Path
) -> None:
    rows = await db.fetchval("select count(*) from policy.listener_domain")
    (repository / "listener_domains.toml").unlink()
    assert (await run(apply, dsn, "--prune", repository)).output == "No difference.\nNothing changed.\n"
    assert await db.fetchval("select count(*) from policy.listener_domain") == rows


async def test_settings_that_no_file_says_any_more_are_taken_back_by_pruning_alone(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    queues = tmp_path / "queues.toml"
    queues.write_text('tenant_header = "X-T"\n[queue.default]\negress_pool = "unspecified"\n')
    (tmp_path / "dkim_data.toml").write_text('[base]\nselector = "s1"\nheaders = ["From"]\n')
    await run(apply, dsn, tmp_path)
    queues.write_text('[queue.default]\negress_pool = "unspecified"\n')
    (tmp_path / "dkim_data.toml").write_text("")
    assert "Nothing changed." in (await run(apply, dsn, tmp_path)).output
    done = await run(apply, dsn, "--prune", tmp_path)
    assert '    tenant_header: "X-T" → nothing' in done.output
    assert '    selector: "s1" → nothing' in done.output
    assert await db.fetchval("select tenant_header from policy.queue_settings") is None


async def test_many_rows_at_once_need_a_reason(dsn: str, db: Connection, tmp_path: Path) -> None:
    await db.execute(
        "insert into policy.listener_domain (domain) select 'd' || n || '.example' from generate_series(1, 300) n"
    )
    (tmp_path / "listener_domains.toml").write_text('["a.example"]\n')
    shown = await run(diff, dsn, tmp_path)
    assert "… and 201 more (--all)" in shown.output
    result = await run(apply, dsn, "--prune", tmp_path)
    assert isinstance(result.exception, Conflict)
    assert "would delete 300 of the 301 rows of policy.listener_domain" in str(result.exception)
    assert "--reason TEXT" in (result.exception.hint or "")
    assert await db.fetchval("select count(*) from policy.listener_domain") == 300
    assert (await run(apply, dsn, "--prune", "--reason", "they left", tmp_path)).exit_code == 0
    assert await db.fetchval("select count(*) from policy.listener_domain") == 1


async def test_an_empty_file_empties_no_table_without_a_reason(
    dsn: str, db: Connection, repository: Path
) -> None:
    (repository / "listener_domains.toml").write_text("# git merge went wrong\n")
    rows = await db.fetchval("select count(*) from policy.listener_domain")
    for arguments in ([], ["--dry-run", "--reason", "to look"]):
        result = await run(apply, dsn, "--prune", *arguments, repository)
        if arguments:
            assert f"{rows} differences" in result.output
        else:
            assert f"there is no listener domain in the files, and pruning would delete all {rows}" in str(
                result.exception
            )
            assert "--reason TEXT" in (getattr(result.exception, "hint", None) or "")
    assert await db.fetchval("select count(*) from policy.listener_domain") == rows
    assert (await run(apply, dsn, "--prune", "--reason", "meant", repository)).exit_code == 0
    assert await db.fetchval("select count(*) from policy.listener_domain") == 0


async def test_what_is_still_needed_is_not_pruned_and_nothing_else_is_done(
    dsn: str, db: Connection, repository: Path
) -> None:
    await db.execute("insert into policy.tenant (name) values ('left')")
    await db.execute(
        "insert into policy.smtp_credential (username, tenant, password_hash) values ('u', 'left', $1)", HASH
    )
    edit(repository / "queues.toml", "[tenant.hooli]\n", '[tenant.hooli]\negress_pool = "acme"\n')
    before = await head(db)
    result = await run(apply, dsn, "--prune", repository)
    assert isinstance(result.exception, Conflict)
    assert 'still referenced from table "smtp_credential"' in str(result.exception)
    assert "add it to them, or take away first what needs it" in (result.exception.hint or "")
    assert await head(db) == before
    assert (await run(diff, dsn, repository)).exit_code == 5


async def test_a_name_that_pruning_would_take_away_is_a_problem_where_it_stands(
    dsn: str, db: Connection, repository: Path
) -> None:
    await db.execute("insert into policy.egress_pool (name) values ('mine')")
    with (repository / "queues.toml").open("a") as file:
        file.write('\n[tenant.extra]\negress_pool = "mine"\n')
    assert (await run(apply, dsn, "--dry-run", repository)).exit_code == 0
    result = await run(apply, dsn, "--prune", repository)
    assert isinstance(result.exception, PolicyInvalid)
    assert "tenant.extra.egress_pool: egress pool 'mine' is" in str(result.exception)


async def test_groups_of_nodes_are_declared_in_policyds_own_file(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    (tmp_path / "sources.toml").write_text('[source.a]\nsource_address = "10.0.0.1"\n[pool.p.a]\n')
    own = tmp_path / "policyd_data.toml"
    own.write_text(
        '[node_group.eu.source.a]\nsource_address = "10.1.0.1"\n[node_group.eu.source.b]\nsource_address = "10.1.0.2"\n'
        '[node_group.us.source.b]\nsource_address = "10.2.0.2"\n[node_group.us.pool.p.b]\n'
    )
    done = await run(apply, dsn, "--prune", tmp_path)
    assert done.exit_code == 0, done.exception
    again = await run(apply, dsn, "--prune", tmp_path)
    assert again.output == "No difference.\nNothing changed.\n"
    addresses = await db.fetch(
        "select name, source_address from policy.egress_source where name <> 'unspecified' order by name"
    )
    assert [tuple(row) for row in addresses] == [("a", "10.0.0.1"), ("b", "10.1.0.2")]
    own.write_text("[node_group.eu.source.a]\n")
    await run(apply, dsn, "--prune", tmp_path)
    assert [
        tuple(row) for row in await db.fetch("select tag, source_address from policy.egress_source_group")
    ] == [("egress_source/eu/a", None)]
    result = await run(apply, dsn, "--prune", "--node-group", "eu", tmp_path / "sources.toml")
    assert result.exit_code == 2


async def test_files_that_are_wrong_are_refused_with_another_status_than_a_difference(
    dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "queues.toml").write_text('[queue."a.com"]\nmax_agee = 1\n')
    result = await run(diff, dsn, tmp_path)
    assert isinstance(result.exception, PolicyInvalid)
    assert "did you mean max_age?" in str(result.exception)


async def test_an_editor_may_apply_webhooks_that_nobody_may_read_along(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    own = tmp_path / "policyd_data.toml"
    own.write_text('[webhook.w]\nurl = "https://a.example"\nevents = ["Bounce"]\n')
    await db.execute(
        "do $$ begin create role olga login in role policyd_editor; exception when duplicate_object then null; end $$"
    )
    as_olga = dsn.replace("postgres@", "olga@")
    done = await run(apply, as_olga, tmp_path)
    assert done.exit_code == 0, done.exception
    own.write_text('[webhook.w]\nurl = "https://b.example"\nevents = ["Bounce"]\n')
    assert (
        '    url: "https://a.example" → "https://b.example"' in (await run(apply, as_olga, tmp_path)).output
    )


async def test_no_secret_of_files_or_rows_is_shown(dsn: str, db: Connection, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text(
        '[source.s]\nsocks5_proxy_server = "10.0.0.1:1"\nsocks5_proxy_source_address = "10.0.0.2"\n'
        'socks5_proxy_username = "u"\nsocks5_proxy_password = { key_data = "canary-1" }\n'
    )
    (tmp_path / "shaping.toml").write_text(
        '["a.example"]\nsmtp_auth_plain_password = { key_data = "canary-2" }\n'
    )
    (tmp_path / "policyd_data.toml").write_text(
        '[webhook.w]\nurl = "https://a.example"\nevents = ["Bounce"]\nheaders = { Authorization = "canary-3" }\n'
    )
    await db.execute("insert into policy.tenant (name) values ('t')")
    await db.execute(
        "insert into policy.smtp_credential (username, tenant, password_hash) values ('u', 't', $1)", HASH
    )
    heard = []
    for command, *arguments in ((diff,), (diff, "--json"), (apply, "--prune"), (diff, "--all")):
        result = await run(command, dsn, *arguments, tmp_path)
        heard.append(result.output + str(result.exception) + str(getattr(result.exception, "hint", "")))
        (tmp_path / "policyd_data.toml").unlink(missing_ok=True)
    assert "headers_with_credentials_are_secrets_by_name" in heard[0]
    assert '{"secret": "socks5_proxy_password_s"}' in heard[2]
    assert "canary" not in "".join(heard).lower()
