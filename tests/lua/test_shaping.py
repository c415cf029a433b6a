"""policyd.shaping: rows as a file that kumod loads; the last good one whatever happens, and mail that waits until there is one."""

import json

import pytest

from policyd.operate.importing import import_rows
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract import recorded, shaping_files
from tests.contract.reference import shaping as model
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import MODULES, ROWS, SENDER
from tests.lua.test_stock_helpers import SHARE

STATIC = "kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)\n"
SETUP = (
    "require('policyd.shaping'):setup_with_automation { no_default_files = true%s }.get_egress_path_config"
)
assert STATIC in MODULES


def shaped(more: str = "") -> str:
    """Everything, with shaping from rows alone."""
    return f"kumo.on('get_egress_path_config', {SETUP % more})\n" + MODULES.replace(STATIC, "")


SHAPED = shaped()
SHAPING = (
    "insert into policy.shaping_domain (domain, options) values ('default', '{\"connection_limit\": 7}');"
)
DEST = "y@a.example"


@pytest.fixture
def file(site):
    return site.store.with_name("store.db.shaping.json")


async def shaped_node(site, rows: str = ROWS + SHAPING, modules: str = SHAPED):
    node = await site.node(modules, rows=rows)
    await node.until(lambda: limit_of(site) is not None)
    await node.settle()
    return node


async def mailed_node(site):
    """A node that has sent mail to DEST, so that all but the shaping is in its store, too."""
    node = await shaped_node(site)
    await node.receive(SENDER, DEST)
    await node.advance(1)
    assert len(node.delivered) == 1
    node.delivered.clear()
    return node


def limit_of(site):
    try:
        said = json.loads(site.store.with_name("store.db.shaping.json").read_text())
    except OSError:
        return None
    return said.get("default", {}).get("connection_limit", 0)


async def set_limit(site, node, limit: int):
    options = json.dumps({"connection_limit": limit})
    await site.change(f"update policy.shaping_domain set options = '{options}'", node)


async def path(node, domain: str = "a.example"):
    return await node.egress_path(domain, "ip-1")


async def test_a_path_is_what_the_rows_say(site):
    node = await shaped_node(site)
    assert await path(node) == {"connection_limit": 7, "refresh_strategy": "Epoch"}


async def test_without_a_row_there_is_an_empty_file_and_mail_goes_on(site, file):
    node = await shaped_node(site, rows=ROWS)
    assert json.loads(file.read_text()) == {}
    await node.receive(SENDER, DEST)
    await node.settle()
    assert len(node.delivered) == 1


async def test_kumomta_s_own_file_comes_first_and_rows_win(site, tmp_path):
    packaged = tmp_path / "packaged.toml"
    packaged.write_text('["default"]\nconnection_limit = 10\nmax_message_rate = "100/s"\n')
    modules = (
        f"require('policyd.shaping').PACKAGED = '{packaged}'\n"
        "kumo.on('get_egress_path_config', require('policyd.shaping'):setup())\n"
    ) + MODULES.replace(STATIC, "")
    node = await shaped_node(site, modules=modules)
    assert await path(node) == {
        "connection_limit": 7,
        "max_message_rate": "100/s",
        "refresh_strategy": "Epoch",
    }


async def test_a_changed_row_reaches_a_live_ready_queue(site):
    node = await shaped_node(site)
    await node.receive(SENDER, DEST)
    await node.settle()
    (ready,) = node.ready.queues.values()
    assert ready.path["connection_limit"] == 7
    await set_limit(site, node, 3)
    await node.until(lambda: ready.path["connection_limit"] == 3, within=15)


async def test_another_change_leaves_the_file_alone_and_bumps_nothing_for_it(site, file):
    node = await shaped_node(site)
    await node.advance(10)
    before, epoch = file.stat(), node.process.epoch
    site.endpoint.requests.clear()
    await site.change("update policy.listener_domain set relay_to = false where domain = 'a.example'", node)
    await node.advance(10)
    assert (file.stat().st_ino, node.process.epoch) == (before.st_ino, epoch)
    assert site.asked("/shaping.json") == 0


async def test_a_restart_asks_whether_the_file_is_still_the_latest_and_keeps_it(site, file):
    node = await shaped_node(site)
    before = file.stat().st_ino
    site.endpoint.requests.clear()
    await node.restart()
    epoch = node.process.epoch
    await node.until(lambda: site.asked("/shaping.json") == 1)
    await node.advance(10)
    assert site.asked("/shaping.json") == 1
    assert (file.stat().st_ino, node.process.epoch) == (before, epoch)


async def test_a_change_that_was_missed_while_kumod_was_down_is_made_up_for(site):
    node = await shaped_node(site)
    await node.stop()
    await site.db.execute("update policy.shaping_domain set options = '{\"connection_limit\": 4}'")
    await node.restart()
    await node.until(lambda: limit_of(site) == 4)
    await node.advance(1)
    assert (await path(node))["connection_limit"] == 4


async def test_whatever_the_network_makes_of_it_the_file_stays(site):
    node = await shaped_node(site)
    modes = ("refused", "silent", "error", "html", "truncated", "unauthorized", "nonsense", "cut")
    for limit, mode in enumerate(modes, start=8):
        await site.endpoint.be(mode)
        options = json.dumps({"connection_limit": limit})
        await site.db.execute(f"update policy.shaping_domain set options = '{options}'")
        await node.advance(3)
        assert limit_of(site) == limit - 1, mode
        assert (await path(node))["connection_limit"] == limit - 1, mode
        await site.endpoint.be("through")
        await node.until(lambda limit=limit: limit_of(site) == limit, within=30)
        await node.until(lambda: node.process.epoch, within=30)


async def test_a_restart_in_an_outage_goes_by_the_file_that_is_there(site):
    node = await mailed_node(site)
    await site.endpoint.be("refused")
    await node.restart()
    await node.receive(SENDER, DEST)
    await node.settle()
    assert node.delivered[0].path["connection_limit"] == 7


async def test_before_there_is_a_file_mail_waits_and_no_attempt_is_counted(site, file):
    node = await mailed_node(site)
    await node.stop()
    file.unlink()
    await site.endpoint.be("refused")
    await node.restart()
    (message,) = (await node.receive(SENDER, DEST)).messages
    await node.advance(240)
    assert (node.delivered, message.attempts, node.scheduler.lost) == ([], 0, [])
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 1, within=120)
    assert node.delivered[0].path["connection_limit"] == 7


async def test_kumod_s_own_queues_never_wait_for_shaping(site, file):
    node = await shaped_node(site)
    await node.stop()
    file.unlink()
    await site.endpoint.be("refused")
    await node.restart()
    for queue, waits in (("null", False), ("generator.kumomta.internal", False), ("x.example", True)):
        message = (await node.inject(SENDER, DEST)).messages[0]
        message.meta["queue"], message.due = queue, None
        await node.call("throttle_insert_ready_queue", message)
        assert (message.due is not None) == waits


async def test_what_is_half_after_a_crash_is_not_used_and_replaced(site, file):
    node = await mailed_node(site)
    await node.stop()
    file.write_text(file.read_text()[:20])
    await site.endpoint.be("refused")
    await node.restart()
    assert any("is not whole" in text for _, text in node.logged)
    await node.receive(SENDER, DEST)
    await node.advance(120)
    assert not node.delivered
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 1, within=120)
    assert node.delivered[0].path["connection_limit"] == 7


async def test_a_file_that_is_taken_away_is_put_back(site, file):
    node = await shaped_node(site)
    await node.advance(10)
    epoch = node.process.epoch
    file.unlink()
    with pytest.raises(HandlerFailed, match="is gone"):
        await path(node)
    await node.until(file.exists, within=30)
    await node.until(lambda: node.process.epoch > epoch, within=30)
    assert (await path(node))["connection_limit"] == 7


async def test_what_kumod_refuses_leaves_the_last_good_and_is_told(site):
    node = await shaped_node(site)
    await break_rows(site, '{"connection_limit": 3, "nonsense": 1}')
    await site.caught_up(node)
    await node.until(lambda: any("kumod refuses the rows of shaping" in text for _, text in node.logged))
    assert limit_of(site) == 7
    assert (await path(node))["connection_limit"] == 7
    assert [entry for entry in site.store.parent.iterdir() if entry.name.count("json") > 1] == []

    async def told():
        return await site.db.fetchval("select last_error from policy.node") or ""

    await node.until(lambda: contains(told(), "unknown field `nonsense`"), within=60)
    await node.restart()
    await node.advance(5)
    assert (await path(node))["connection_limit"] == 7
    await break_rows(site, '{"connection_limit": 5}')
    await node.until(lambda: limit_of(site) == 5, within=90)


async def test_what_kumod_refuses_at_first_lets_mail_wait(site):
    await site.db.execute(ROWS + SHAPING)
    await break_rows(site, '{"nonsense": 1}')
    node = await site.node(SHAPED)
    await node.receive(SENDER, DEST)
    await node.advance(120)
    assert not node.delivered
    await break_rows(site, '{"connection_limit": 5}')
    await node.until(lambda: len(node.delivered) == 1, within=180)
    assert node.delivered[0].path["connection_limit"] == 5


async def contains(text, part):
    return part in await text


async def break_rows(site, options: str):
    """Change a row behind the checks' back, as somebody may who switches triggers off."""
    async with site.db.transaction():
        await site.db.execute("set local session_replication_role = replica")
        await site.db.execute(f"update policy.shaping_domain set options = '{options}'")
        await site.db.execute("set local session_replication_role = origin")
        await site.db.execute("select policy.invalidate('shaping', 'rows were changed by hand')")


async def test_a_place_that_cannot_be_written_is_told_and_tried_again(site, file):
    file.mkdir()
    node = await site.node(SHAPED, rows=ROWS + SHAPING)
    await node.until(lambda: any("shaping is not up to date" in text for _, text in node.logged), within=30)
    assert [entry.name for entry in site.store.parent.iterdir() if ".shaping.json." in entry.name] == []
    file.rmdir()
    await node.until(lambda: limit_of(site) == 7, within=30)


async def test_another_history_brings_its_own_file(site, postgres):
    from tests.integration.conftest import serving_rows

    node = await shaped_node(site)
    async with serving_rows(postgres, ROWS + SHAPING.replace("7", "9")) as stranger:
        await site.endpoint.be("through", target=stranger.url)
        await node.until(lambda: limit_of(site) == 9, within=60)


SECRET = """
insert into policy.shaping_domain (domain, mx_rollup, options) values ('corp.example', false,
  '{"smtp_auth_plain_username": "us", "smtp_auth_plain_password": {"secret": "corp"}}');
"""


async def test_a_secret_is_asked_of_the_node_s_own_setup(site, tmp_path, file):
    (tmp_path / "corp").write_text("hunter2\n")
    site.options = {"secrets": f"{{ corp = '{tmp_path}/corp' }}"}
    node = await shaped_node(site, rows=ROWS + SHAPING + SECRET)
    params = await path(node, "corp.example")
    assert params["smtp_auth_plain_password"] == {"event_name": "policyd.secret", "event_args": ["corp"]}
    assert await node.call("policyd.secret", "corp") == ("hunter2",)
    assert "hunter2" not in file.read_text()


async def test_a_secret_that_the_node_has_not_got_is_named_and_the_rest_is_taken(site):
    node = await shaped_node(site, rows=ROWS + SHAPING + SECRET)
    assert (await path(node))["connection_limit"] == 7
    assert any(
        "secrets that are not in the secrets of policyd:setup on this node: corp" in t for _, t in node.logged
    )
    with pytest.raises(HandlerFailed, match="the secret 'corp' is not in the secrets of policyd:setup"):
        await node.call("policyd.secret", "corp")


async def test_a_secret_that_cannot_be_read_is_not_shown(site):
    site.options = {"secrets": "{ corp = { key_data = 4711, path = 'hunter2' } }"}
    node = await shaped_node(site)
    with pytest.raises(HandlerFailed) as raised:
        await node.call("policyd.secret", "corp")
    assert "the secret 'corp' cannot be read" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (":setup { '/opt/kumomta/etc/policy/shaping.toml' }", "there are no files to name: policyd import"),
        (":setup_with_automation { extra_files = { 'x' } }", "there are no files to name: policyd import"),
        (":setup_with_automation { publsh = {} }", "there is no option 'publsh'"),
        (":setup_with_automation { publish = 'http://tsa' }", "the option 'publish' has to be a table"),
        (":setup_with_automation()", "setup_with_automation takes a table"),
    ],
)
async def test_a_mistake_is_said_in_the_caller_s_line(site, call, said):
    with pytest.raises(HandlerFailed) as raised:
        await site.kumod(site.policy(f"require('policyd.shaping'){call}"))
    text = str(raised.value)
    assert said in text
    assert text.startswith('runtime error: [string "policy.lua"]:3: policyd.shaping: ')


async def test_who_looks_at_the_helper_finds_what_kumomta_s_own_has(site):
    modules = SHAPED + (
        "kumo.on('look', function(domain) local found = require('policyd.shaping').CONFIGURED\n"
        "found.setup_publish() local params = found.get_egress_path_config(domain, 'ip-1', domain, true)\n"
        "return params.connection_limit, found.load_shaping_data():hash() end)"
    )
    node = await shaped_node(site, modules=modules)
    looked = await node.call("look", "a.example")
    assert looked is not None
    limit, hashed = looked
    assert (limit, len(hashed)) == (7, 64)


# Recorded answers of a real kumod


@pytest.mark.parametrize("name", recorded.SETS[:4])
async def test_the_module_answers_what_kumomta_s_own_was_recorded_to_answer(site, name):
    folder = recorded.folder(name)
    names = ("shaping1.toml", "shaping2.toml")
    come_to = transfer([read_helper_file(n, (folder / n).read_text(), "shaping") for n in names])
    await import_rows(site.db, come_to, dry_run=False, actor=None, reason="parity")
    site.kumod_settings = {"mx": model.exchangers((folder / "zones.json").read_text())}
    node = await shaped_node(site, rows="")
    given_files = shaping_files.recorded_files(name)
    mx = shaping_files.with_absolute(shaping_files.recorded_exchangers(name))
    together = model.load(shaping_files.together_by_domain(given_files), mx)
    for each in recorded.answers(name, "shaping"):
        domain, source = each.question["domain"] or "", each.question["source"] or ""
        answered = await node.egress_path(domain, source)
        answered.pop("refresh_strategy")
        if answered != each.result["config"]:
            # Two domains of one MX, in turns: named by the import.
            assert answered == model.path_config(together, mx, domain, source), each
            assert any("in turns" in str(note) for note in come_to.notes)


# kumod --validate


async def test_validation_passes_where_all_is_well_and_leaves_no_file(site, file, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    node = await shaped_node(site)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    assert await node.validate() == (True, [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


async def test_validation_of_a_new_node_needs_no_file(site, file):
    await site.db.execute(ROWS + SHAPING)
    node = await site.kumod(site.policy(SHAPED), started=False)
    assert await node.validate() == (True, [])
    assert not file.exists()


async def test_validation_says_what_kumod_refuses_and_which_secret_and_source_are_missing(site):
    node = await shaped_node(site)
    await site.change(
        SECRET
        + "insert into policy.shaping_domain (domain, mx_rollup) values ('s.example', false);"
        + "insert into policy.shaping_domain_source (domain, source) values ('s.example', 'ip-9')",
        node,
    )
    fine, said = await node.validate()
    assert not fine
    assert any("shaping: the secret 'corp' is not in the secrets of policyd:setup" in line for line in said)
    assert any("shaping of s.example names the source 'ip-9', which is none" in line for line in said)
    await break_rows(site, '{"nonsense": 1}')
    await site.caught_up(node)
    fine, said = await node.validate()
    assert not fine
    assert any("shaping: " in line and "unknown field `nonsense`" in line for line in said)


async def test_offline_validation_looks_at_the_file_that_is_there(site, file, monkeypatch):
    monkeypatch.setenv("POLICYD_VALIDATE", "offline")
    node = await shaped_node(site)
    await site.endpoint.be("refused")
    fine, said = await node.validate()
    assert fine, said
    file.write_text('{"default": {"nonsense": 1}}')
    fine, said = await node.validate()
    assert not fine
    assert any("unknown field `nonsense`" in line for line in said)


stock = pytest.mark.skipif(
    not (SHARE / "policy-extras" / "shaping.lua").exists(),
    reason="KumoMTA's policy-extras are not installed (KUMO_SHARE names the folder above them)",
)


@pytest.fixture
def with_share(site):
    from tests.lua.conftest import PACKAGE_PATH

    site.kumod_settings = {"package_path": f"{PACKAGE_PATH};{SHARE}/?.lua"}


@stock
async def test_with_automation_kumomta_s_own_helper_publishes_and_answers_from_the_rows(site, with_share):
    modules = shaped(f", publish = {{ '{site.endpoint.url}' }}, pre_filter = false")
    modules += "kumo.on('init', function() require('policyd.shaping').CONFIGURED.setup_publish() end)"
    node = await shaped_node(site, modules=modules)
    assert (await path(node))["connection_limit"] == 7
    await set_limit(site, node, 3)
    await node.until(lambda: limit_of(site) == 3)

    async def is_new():
        return (await path(node))["connection_limit"] == 3

    await node.until(is_new, within=15)
    await node.receive(SENDER, DEST)
    await node.until(lambda: any("POST /publish_log_v1" in line for line in site.endpoint.requests))
    assert await node.validate() == (True, [])


@stock
async def test_validation_notices_that_both_helpers_are_set_up(site, with_share):
    modules = shaped() + "require('policy-extras.shaping'):setup {}"
    node = await shaped_node(site, modules=modules)
    fine, said = await node.validate()
    assert not fine
    assert any(
        "policyd.shaping and policy-extras.shaping are both set up; use one of them" in line for line in said
    )


async def test_a_tsa_daemon_that_makes_no_sense_is_like_one_that_is_down(site):
    fake = (
        "package.preload['policy-extras.shaping'] = function() local stock = {}\n"
        "function stock:setup_with_automation(options) self.CONFIGURED = { setup_publish = function() end, _options = options,\n"
        "load_shaping_data = function() error 'parsing toml from http://tsa' end } return self.CONFIGURED end\n"
        "return stock end\n"
    )
    node = await shaped_node(site, modules=fake + shaped(", subscribe = { 'http://tsa' }"))
    assert (await path(node))["connection_limit"] == 7
    assert any("without what the TSA daemon says: " in text for _, text in node.logged)
    await node.receive(SENDER, DEST)
    await node.settle()
    assert len(node.delivered) == 1
