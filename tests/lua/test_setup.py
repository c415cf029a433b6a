"""require 'policyd': what may be said to it, and what `kumod --validate` says of it."""

from pathlib import Path

import pytest

from tests.integration.conftest import TOKEN, make_token
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import MODULES, ROWS

LUA = Path(__file__).parents[2] / "lua-client" / "policyd"
START = "local kumo = require 'kumo'\nlocal policyd = require 'policyd'\n"
GOOD = "endpoints = { 'http://127.0.0.1:1' }, store = '/x/store.db'"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("policyd:setup()", "it takes one table"),
        ("policyd:setup {}", "is missing"),
        ("policyd:setup { endpoints = {}, store = '/x' }", "the option 'endpoints' has to be a list of URLs"),
        ("policyd:setup { endpoints = { 'localhost' }, store = '/x' }", "the option 'endpoints' has to be"),
        ("policyd:setup { endpoints = { 'http://u:p@h' }, store = '/x' }", "without user or password"),
        (
            "policyd:setup { endpoints = { 'http://h' }, store = 'x.db' }",
            "'store' has to be an absolute file name",
        ),
        (
            f"policyd:setup {{ {GOOD}, endpoint = 'x' }}",
            "there is no option 'endpoint'; there are auth_max_stale, cache_capacity, endp",
        ),
        (f"policyd:setup {{ {GOOD}, node = 'a b' }}", "the option 'node' has to be 1 to 64 letters"),
        (
            f"policyd:setup {{ {GOOD}, epoch_interval = '5s' }}",
            "'epoch_interval' has to be a number of seconds",
        ),
        (
            f"policyd:setup {{ {GOOD}, on_unknown = 'accept' }}",
            "'on_unknown' has to be 'tempfail' or 'unsigned'",
        ),
        (f"policyd.setup {{ {GOOD} }}", "call it with a colon"),
        (f"policyd:setup {{ {GOOD} }} policyd:setup {{ {GOOD} }}", "setup was called before"),
        ("require('policyd.sources'):setup()", "policyd:setup comes first"),
        ("require('policyd.queue'):setup()", "policyd:setup comes first"),
        ("require('policyd.listener_domains'):setup()", "policyd:setup comes first"),
    ],
)
async def test_a_mistake_is_said_in_the_caller_s_line(kumod, call, said):
    with pytest.raises(HandlerFailed) as raised:
        await kumod(START + call)
    text = str(raised.value)
    assert said in text
    assert text.startswith('runtime error: [string "policy.lua"]:3: policyd')


async def test_a_secret_in_the_wrong_place_is_not_repeated(kumod):
    with pytest.raises(HandlerFailed) as raised:
        await kumod(START + f"policyd:setup {{ {GOOD}, token = 4711, secrets = {{ 'hunter2' }} }}")
    assert "hunter2" not in str(raised.value)
    assert "4711" not in str(raised.value)


@pytest.mark.parametrize(
    "settings", [{"version": "2026.03.04-bbbbbbbb"}, {"absent": frozenset({"kumo.mpsc"})}]
)
async def test_a_kumod_that_is_too_old_is_told_so(kumod, settings):
    with pytest.raises(HandlerFailed, match=r"KumoMTA 2026\.05\.12 or newer is needed"):
        await kumod(START + f"policyd:setup {{ {GOOD} }}", **settings)


async def test_no_module_writes_a_global(kumod):
    guard = "setmetatable(_G, { __newindex = function(_, name) error('global ' .. tostring(name), 2) end })\n"
    every = "".join(
        f"require 'policyd.{path.stem}'\n" for path in sorted(LUA.glob("*.lua")) if path.stem != "init"
    )
    node = await kumod(START + guard + f"policyd:setup {{ {GOOD} }}\n" + every, started=False)
    context = await node.process.make_context()
    context.close()


async def test_setting_up_touches_neither_disk_nor_network(site):
    node = await site.kumod(site.policy(MODULES), started=False)
    context = await node.process.make_context()
    context.close()
    assert site.endpoint.requests == []
    assert not site.store.exists()


async def test_validation_passes_where_all_is_well(site):
    node = await site.node(rows=ROWS)
    assert await node.validate() == (True, [])


async def test_validation_says_that_the_service_cannot_be_reached_and_what_that_means(site):
    node = await site.node(rows=ROWS)
    await site.endpoint.be("refused")
    fine, said = await node.validate()
    assert not fine
    assert any("policy cannot be checked without it. POLICYD_VALIDATE=offline" in line for line in said)


async def test_offline_validation_warns_and_checks_the_rest(site, monkeypatch):
    monkeypatch.setenv("POLICYD_VALIDATE", "offline")
    node = await site.node(rows=ROWS)
    await site.endpoint.be("refused")
    fine, said = await node.validate()
    assert fine
    assert any("(not counted, offline)" in line for line in said)


async def test_validation_says_that_the_token_is_not_accepted(site):
    node = await site.node(rows=ROWS)
    site.token.write_text(TOKEN + "x")
    fine, said = await node.validate()
    assert not fine
    assert any("status 401: it does not accept the token" in line for line in said)


async def test_validation_says_that_the_token_may_not_look_anything_up(site):
    await make_token(site.db, "weak.0123456789abcdefghij", scopes=("status",))
    node = await site.node(rows=ROWS)
    site.token.write_text("weak.0123456789abcdefghij")
    fine, said = await node.validate()
    assert not fine
    assert any("status 403: it says that the token may not ask this" in line for line in said)


async def test_validation_says_that_the_token_may_not_report_what_the_node_has_applied(site):
    await make_token(site.db, "weak.0123456789abcdefghij", scopes=("lookup",))
    node = await site.node(rows=ROWS)
    site.token.write_text("weak.0123456789abcdefghij")
    fine, said = await node.validate()
    assert not fine
    assert any("the token has not the scope status" in line for line in said)


async def test_validation_reports_no_node(site):
    await site.db.execute(ROWS)
    node = await site.kumod(site.policy(), started=False)
    fine, said = await node.validate()
    assert fine, said
    assert await site.db.fetchval("select count(*) from policy.node_state") == 0


async def test_validation_names_a_secret_that_this_node_has_not_got(site):
    node = await site.node(
        rows=ROWS
        + "insert into policy.egress_source (name, socks5_proxy_server, socks5_proxy_source_address,"
        " socks5_proxy_username, socks5_proxy_password) values"
        " ('proxied', '10.0.0.9:1080', '10.0.0.9', 'u', '{\"secret\": \"proxy\"}')"
    )
    fine, said = await node.validate()
    assert not fine
    assert any("egress_source * proxied: " in line and "the secret 'proxy'" in line for line in said)


async def test_validation_says_that_queue_is_not_the_last(site):
    node = await site.node(MODULES + "kumo.on('get_queue_config', function() return end)", rows=ROWS)
    fine, said = await node.validate()
    assert not fine
    assert any("has to be set up last" in line for line in said)


async def test_validation_leaves_the_store_alone(site):
    node = await site.node(rows=ROWS)
    before = site.position()
    await node.validate()
    await node.advance(1)
    assert site.position() == before
    assert not any("another live process" in text for _, text in node.logged)
