"""`policyd export` as an operator runs it."""

import asyncio
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from policyd.cli.exporting import export
from policyd.cli.transfer import import_files
from policyd.errors import PolicydError
from policyd.operate.exporting import DirectoryNotEmpty
from policyd.store.pool import Connection

EXAMPLE = Path(__file__).parents[2] / "deploy/example"
NAMES = {
    "listener_domains.toml",
    "sources.toml",
    "queues.toml",
    "dkim_data.toml",
    "shaping.toml",
    "policyd_data.toml",
}
ROWS = """
insert into policy.tenant (name) values ('t');
insert into policy.egress_source (name, source_address) values ('s', '192.0.2.1');
insert into policy.egress_source_group (name, node_group, source_address) values ('s', 'eu', '192.0.2.2');
insert into policy.egress_source (name, socks5_proxy_server, socks5_proxy_source_address, socks5_proxy_username, socks5_proxy_password)
values ('via', '10.0.0.9:1080', '192.0.2.9', 'me', '{"secret": "proxy-password"}');
insert into policy.webhook (name, url, events, headers) values ('w', 'https://a.example', '{Delivery}', '{"Authorization": {"secret": "hook"}}');
insert into policy.smtp_credential (username, tenant, password_hash)
values ('u', 't', '$argon2id$v=19$m=19456,t=2,p=1$CanaryCanaryCanaryCanA$CanaryCanaryCanaryCanaryCanaryCanaryCanaryC');
insert into policy.api_token (name, sha256, scopes) values ('n', repeat('c0ffee00', 8), '{lookup}');
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain, key_root, key_name, not_after) values
  ('acme.example', 'acme', 'shared/k1', '2030-01-01 00:00+00'), ('a.example', null, 'shared/k2', null);
"""


async def run(dsn: str, *arguments: str | Path, command: click.Command = export) -> Result:
    written = [f"--set=database.dsn={dsn}", *(str(each) for each in arguments)]
    return await asyncio.to_thread(CliRunner().invoke, command, written)  # the command has a loop of its own


def texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


async def test_the_example_is_exported_as_files_that_import_without_a_change(
    dsn: str, tmp_path: Path
) -> None:
    assert (await run(dsn, EXAMPLE, command=import_files)).exit_code == 0
    result = await run(dsn, tmp_path / "new" / "policy")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Wrote 6 files to "), result.output
    written = texts(tmp_path / "new" / "policy")
    assert written.keys() == NAMES
    assert (
        '["mail.example.com"]\nrelay_to = false\nlog_oob = "LogThenDrop"\n'
        in written["listener_domains.toml"]
    )
    assert '[queue."gmail.com".acme.spring-sale]\n' in written["queues.toml"]
    assert "Nothing changed." in (await run(dsn, tmp_path / "new" / "policy", command=import_files)).output


async def test_what_files_cannot_say_is_told_and_what_only_policyd_can_is_in_a_file_of_its_own(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    await db.execute(ROWS)
    result = await run(dsn, tmp_path / "p")
    assert result.exit_code == 0, result.output
    assert "Not exported, because they hold hashes: 1 credential and 1 token." in result.output
    assert "  proxy-password\n" in result.output
    assert "Signers whose key only policyd_data.toml can place\n  domain acme.example\n" in result.output
    assert "Signers whose times KumoMTA does not obey\n  domain acme.example\n" in result.output
    assert "Mail that KumoMTA sends from the host's own address" in result.output
    written = texts(tmp_path / "p")
    assert '[node_group.eu.source.s]\nsource_address = "192.0.2.2"\n' in written["policyd_data.toml"]
    assert '[webhook.w]\nurl = "https://a.example"\n' in written["policyd_data.toml"]
    assert 'on_missing = "hold"' in written["policyd_data.toml"]
    assert 'filename = "/opt/kumomta/etc/dkim/shared/k2.key"' in written["dkim_data.toml"]
    assert 'socks5_proxy_password = { event_name = "policyd.secret"' not in written["sources.toml"]
    assert '[source.via.socks5_proxy_password]\nevent_name = "policyd.secret"' in written["sources.toml"]
    everything = result.output + "".join(written.values())
    assert "canary" not in everything.lower()
    assert "c0ffee" not in everything
    again = await run(dsn, tmp_path / "p", command=import_files)
    assert "Nothing changed." in again.output, again.output
    assert "Secrets" not in again.output


async def test_a_row_that_comes_back_as_another_one_is_told(dsn: str, db: Connection, tmp_path: Path) -> None:
    await db.execute("insert into policy.shaping_domain (domain) values ('a.example.'), ('b.example')")
    await db.execute("insert into policy.queue_tenant (domain, tenant) values ('default', 't')")
    result = await run(dsn, tmp_path / "p")
    assert (
        "Rows that come back from the files as others, or not at all\n  shaping_domain a.example.\n\n"
        in result.output
    )
    assert "Tenants in the default queue, which no file can have\n  t\n" in result.output


async def test_a_key_root_that_is_configured_is_a_path_and_comes_back_from_it(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    await db.execute(ROWS)
    known = "--set=keys.acme.dir=/srv/acme-keys"
    await run(dsn, known, tmp_path / "p")
    text = (tmp_path / "p" / "dkim_data.toml").read_text()
    assert '[domain."acme.example"]\nfilename = "/srv/acme-keys/shared/k1.key"\n' in text
    (tmp_path / "p" / "policyd_data.toml").unlink()
    result = await run(dsn, known, "--dry-run", tmp_path / "p", command=import_files)
    assert "dkim_domain" not in result.output.partition("Rows\n")[2].partition("\n\n")[0], result.output
    assert "[keys." not in result.output


async def test_a_directory_with_something_in_it_is_left_alone_unless_it_is_said(
    dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "queues.toml").write_text("old")
    result = await run(dsn, tmp_path)
    assert isinstance(result.exception, DirectoryNotEmpty)
    assert texts(tmp_path) == {"README.md": "mine", "queues.toml": "old"}
    assert (await run(dsn, "--force", tmp_path)).exit_code == 0
    assert texts(tmp_path).keys() == {*NAMES, "README.md"}
    assert texts(tmp_path)["README.md"] == "mine"
    assert "[queue.default]" in texts(tmp_path)["queues.toml"]
    (tmp_path / "empty").mkdir()
    assert (await run(dsn, tmp_path / "empty")).exit_code == 0


async def test_what_cannot_be_written_whole_is_not_written_at_all(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "shaping.toml").mkdir()
    result = await run(dsn, "--force", tmp_path / "p")
    assert "cannot be written: shaping.toml is a directory" in str(result.exception)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "p", Path("/proc/p")):
        result = await run(dsn, place)
        assert isinstance(result.exception, PolicydError)
        assert "cannot be written" in str(result.exception)
    assert not list(tmp_path.rglob(".*"))
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["shaping.toml"]


async def test_the_same_policy_makes_the_same_files(dsn: str, db: Connection, tmp_path: Path) -> None:
    await db.execute(ROWS)
    await run(dsn, tmp_path / "a")
    await db.execute(
        "update policy.tenant set egress_pool = 'unspecified'; update policy.tenant set egress_pool = null"
    )
    await db.execute(
        f"alter database {dsn.partition('?')[0].rpartition('/')[2]} set timezone to 'Asia/Tokyo'"
    )
    await run(dsn, tmp_path / "b")
    assert texts(tmp_path / "a") == texts(tmp_path / "b")


@pytest.mark.parametrize("name", ["protocol", "tenants", "max_age"])
async def test_a_tenant_that_is_called_like_an_option_comes_back(
    dsn: str, db: Connection, tmp_path: Path, name: str
) -> None:
    await db.execute(
        """insert into policy.queue (domain, options) values ('a.com', '{"max_age": 60, "protocol": {"smtp": {}}}')"""
    )
    await db.execute(
        "insert into policy.queue_tenant (domain, tenant) values ('a.com', $1), ('a.com', 'plain')", name
    )
    await db.execute(
        "insert into policy.queue_campaign (domain, tenant, campaign) values ('a.com', $1, 'campaigns')", name
    )
    await run(dsn, tmp_path / "p")
    result = await run(dsn, tmp_path / "p", command=import_files)
    assert "Nothing changed." in result.output, result.output
