"""kumod --validate: what an operator is told before a policy goes live."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.integration.conftest import make_token
from tests.integration.signing import KeyFiles
from tests.kumod.process import command
from tests.kumod.site import MODULES, ROWS
from tests.unit.keys.pems import rsa_pem

STOCK = Path(os.environ.get("KUMO_SHARE", "/opt/kumomta/share"))
needs_stock = pytest.mark.skipif(
    not (STOCK / "policy-extras").is_dir(), reason="KumoMTA's own helpers are not installed"
)


async def validate(site, modules=MODULES, *, rows=ROWS, offline=False, **options):
    """The exit status, and all that was printed."""
    if rows:
        await site.db.execute(rows)
    site.write_policy(modules, **options)
    return await validation(site.kumod, POLICYD_VALIDATE="offline" if offline else "")


async def validation(kumod, **environment):
    """The exit status for the policy that *kumod* has, and all that was printed."""
    process = await asyncio.create_subprocess_exec(
        *command("--validate", "--policy", kumod.policy),
        env={**kumod.surroundings(), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_a_good_policy_is_valid(site):
    status, printed = await validate(site)
    assert status == 0, printed
    assert "policyd" not in printed


async def test_a_validation_leaves_no_store_and_disturbs_no_running_node(site):
    status, printed = await validate(site)
    assert status == 0, printed
    assert list(site.store.parent.iterdir()) == []
    await site.node(rows="")
    status, printed = await validate(site, rows="")
    assert (status, "policyd" in printed) == (0, False), printed
    await site.deliver()


async def test_an_unreachable_service_fails_it_and_says_how_to_do_without(site):
    await site.endpoint.be("refused")
    status, printed = await validate(site)
    assert status != 0
    assert site.endpoint.url in printed
    assert "POLICYD_VALIDATE=offline checks the rest" in printed
    status, printed = await validate(site, rows="", offline=True)
    assert status == 0, printed
    assert "not counted, offline" in printed


async def test_a_wrong_token_fails_it(site):
    site.token.write_text("test.wrongwrongwrongwrong")
    status, printed = await validate(site)
    assert status != 0
    assert "does not accept the token" in printed
    assert "wrongwrong" not in printed


async def test_a_token_without_the_scope_that_a_module_needs_fails_it(site, key_directory):
    await make_token(site.db, "lookups.0123456789abcdefghij", scopes=("lookup",))
    site.token.write_text("lookups.0123456789abcdefghij")
    signing = "require('policyd.dkim_sign'):setup()\n" + MODULES
    KeyFiles(key_directory).write("a.example/s1", rsa_pem())
    rows = ROWS + (
        "update policy.dkim_settings set selector = 's1';"
        "insert into policy.dkim_domain (domain) values ('a.example')"
    )
    status, printed = await validate(site, signing, rows=rows)
    assert status != 0
    assert "dkim a.example: selector s1 of a.example" in printed
    assert "PRIVATE KEY" not in printed


async def test_a_misspelt_option_is_told_with_the_line_that_has_it(site):
    status, printed = await validate(site, stroe="'/x'")
    assert status != 0
    assert "there is no option 'stroe'" in printed
    line = 1 + site.kumod.policy.read_text().split("require('policyd')")[0].count("\n")
    assert f":{line}: policyd: setup" in printed  # Lua shortens the file's name


async def test_a_source_that_kumod_refuses_is_named(site):
    await site.db.execute(ROWS)
    await site.db.execute("set session_replication_role = replica")  # as if a check were missing
    await site.db.execute("update policy.egress_source set source_address = 'nonsense' where name = 'ip-1'")
    status, printed = await validate(site, rows="")
    assert status != 0
    assert "ip-1" in printed


async def test_a_handler_behind_the_queue_module_fails_it(site):
    late = MODULES + "kumo.on('get_queue_config', function() end)\n"
    status, printed = await validate(site, late)
    assert status != 0
    assert "has to be set up last" in printed


@needs_stock
async def test_a_module_beside_the_helper_that_it_replaces_fails_it(site):
    both = (
        f"package.path = '{STOCK}/?.lua;' .. package.path\n"
        "require('policy-extras.listener_domains'):setup({})\n" + MODULES
    )
    status, printed = await validate(site, both)
    assert status != 0
    assert "are both set up" in printed
