"""policyd.log_hooks: who is told what of the log, as rows say it now; and no record is lost on the way there."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.lua.faults import endpoint_before
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import MODULES, ROWS, SENDER
from tests.lua.test_shaping import STATIC

DEST = "y@a.example"
SOON = "queue_config = { retry_interval = '2s', max_retry_interval = '2s' }"
TENANTED = b"From: x@a.example\r\nX-Tenant: acme\r\nSubject: s\r\n\r\nhi\r\n"


def hooked(options: str = "") -> str:
    """Everything, with log hooks."""
    return f"require('policyd.log_hooks'):setup {{ {options} }}\n{MODULES}"


@dataclass(slots=True)
class Hook:
    """An HTTP endpoint that notes what it is sent, and answers what a test says."""

    url: str = ""
    status: int = 200
    says: bytes = b"ok"
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def records(self):
        told = []
        for _, body in self.requests:
            said = json.loads(body)
            told += said if isinstance(said, list) else [said]
        return told

    @property
    def told(self):
        return [record["type"] for record in self.records]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            answer = (
                f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.says)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(answer.encode() + self.says)
            await writer.drain()
        writer.close()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with hooks(1) as (one,):
        yield one


@contextlib.asynccontextmanager
async def hooks(count: int) -> AsyncIterator[list[Hook]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            hook = Hook()
            server = await stack.enter_async_context(await asyncio.start_server(hook.serve, "127.0.0.1", 0))
            hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told?v=2"
            made.append(hook)
        yield made


def row(name: str, hook: Hook, events: str = "{Delivery}", **columns: str) -> str:
    """An insert; further columns as SQL."""
    given = {"max_batch_latency": "'0s'", **columns}
    return (
        f"insert into policy.webhook (name, url, insecure, events, {', '.join(given)})"
        f" values ('{name}', '{hook.url}', true, '{events}', {', '.join(given.values())});"
    )


async def sent(node, *, data: bytes | None = None, to: str = DEST):
    reply = await node.receive(SENDER, to, data=data)
    assert reply.code == 250, reply
    await node.settle()
    return reply


async def test_a_webhook_is_told_of_the_types_that_it_asks_for(site, hook):
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, "{Delivery,Reception}"))
    await sent(node)
    await node.until(lambda: len(hook.told) == 2)
    assert sorted(hook.told) == ["Delivery", "Reception"]
    headers, _ = hook.requests[0]
    assert headers["content-type"] == "application/json"
    assert hook.records[0]["sender"] == SENDER


async def test_a_webhook_of_a_tenant_is_told_of_its_mail_only(site, hook):
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, "{Reception,Delivery}", tenant="'acme'"))
    await sent(node)
    await sent(node, data=TENANTED)
    await node.until(lambda: len(hook.told) == 2)
    await node.advance(5)
    assert {record["meta"]["tenant"] for record in hook.records} == {"acme"}
    assert {record["meta"]["policyd_revision"] for record in hook.records} != {None}
    assert len(hook.told) == 2


async def test_a_tenant_that_only_the_queue_s_name_says_is_known_too(site, hook):
    modules = hooked() + "kumo.on('smtp_server_data', function() end)"
    modules = modules.replace(
        "queue_helper:apply(msg) end)\nkumo.on('http",
        "msg:set_meta('queue', 'welcome:acme@a.example') end)\nkumo.on('http",
    )
    node = await site.node(modules, rows=ROWS + row("acme", hook, "{Reception}", tenant="'acme'"))
    await sent(node)
    await node.until(lambda: hook.told == ["Reception"])


async def test_without_a_webhook_nothing_is_enqueued_and_nobody_is_asked_again(site):
    node = await site.node(hooked(), rows=ROWS)
    await sent(node)
    await node.advance(5)
    assert [name for name in node.scheduler.queues if "log_hook" in name] == []
    assert site.asked("/webhooks") == 0


async def test_a_row_that_comes_is_told_and_one_that_is_disabled_is_not(site, hook):
    node = await site.node(hooked(), rows=ROWS)
    await sent(node)
    await site.change(row("acme", hook), node)
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    await site.change("update policy.webhook set enabled = false", node)
    await sent(node)
    await node.advance(10)
    assert hook.told == ["Delivery"]


async def test_a_moved_endpoint_is_looked_up_for_every_batch(site):
    async with hooks(2) as (first, second):
        node = await site.node(hooked(), rows=ROWS + row("acme", first))
        await sent(node)
        await node.until(lambda: first.told == ["Delivery"])
        await site.change(f"update policy.webhook set url = '{second.url}'", node)
        await sent(node)
        await node.until(lambda: second.told == ["Delivery"])
        assert len(first.told) == 1


async def test_records_of_a_batch_go_in_one_request_as_an_array(site, hook):
    columns = {"batch_size": "3", "max_batch_latency": "'10s'"}
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, **columns))
    for _ in range(4):
        await sent(node)
    await node.until(lambda: len(hook.records) == 4, within=60)
    assert [len(json.loads(body)) for _, body in hook.requests] == [3, 1]


async def test_a_batch_of_one_is_the_record_itself_as_new_json_sends_it(site, hook):
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, batch_size="1"))
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    assert isinstance(json.loads(hook.requests[0][1]), dict)


async def test_what_passes_is_tried_again(site, hook):
    node = await site.node(hooked(SOON), rows=ROWS + row("acme", hook))
    for status in (408, 425, 429, 500, 502, 503):
        hook.status, hook.requests = status, []
        await sent(node)
        await node.until(lambda: len(hook.requests) > 1)
        hook.status, hook.requests = 200, []
        await node.until(lambda: hook.told == ["Delivery"])
    assert [record["type"] for record in node.records].count("Bounce") == 0


async def test_who_cannot_be_reached_is_told_later_and_others_at_once(site):
    async with hooks(2) as (up, down):
        rows = row("up", up) + row("down", down).replace(down.url, "http://127.0.0.1:1/")
        node = await site.node(hooked(f"slots = 2, {SOON}"), rows=ROWS + rows)
        await sent(node)
        await node.until(lambda: up.told == ["Delivery"])
        await site.change(f"update policy.webhook set url = '{down.url}' where name = 'down'", node)
        await node.until(lambda: down.told == ["Delivery"])
        await node.advance(5)
        assert (up.told, down.told) == (["Delivery"], ["Delivery"])


async def test_an_endpoint_that_never_answers_has_its_timeout(site):
    async with endpoint_before("nowhere", "silent") as silent:
        hook = Hook(url=silent.url + "/")
        node = await site.node(hooked(SOON), rows=ROWS + row("acme", hook, timeout="'5s'"))
        await sent(node)
        await node.until(lambda: len(silent.requests) > 1)
        assert any("webhook 'acme': error sending request" in text for _, text in node.logged)


async def test_what_an_endpoint_refuses_for_good_is_dropped_with_a_line_in_the_log(site, hook):
    node = await site.node(hooked(SOON), rows=ROWS + row("acme", hook))
    hook.says = b"no\nsuch thing"
    for status in (400, 404, 410, 413, 422):
        hook.status, hook.requests = status, []
        await sent(node)
        await node.until(lambda: hook.told == ["Delivery"])
        await node.advance(5)
        assert len(hook.requests) == 1
    line = "webhook 'acme': it answers 400 no such thing; its records are dropped"
    assert [line in text for _, text in node.logged].count(True) == 1  # once a minute
    bounces = [record for record in node.records if record["type"] == "Bounce"]
    assert len(bounces) == 5
    assert {record["reception_protocol"] for record in bounces} == {"LogRecord"}


async def test_requests_are_signed_with_the_secret_that_the_row_names(site, hook, tmp_path):
    (tmp_path / "signature").write_text("s3cret-s3cret\n")
    (tmp_path / "bearer").write_text("Bearer t0ken-t0ken\n")
    site.options = {"secrets": f"{{ sign = '{tmp_path}/signature', bearer = '{tmp_path}/bearer' }}"}
    headers = """'{"Authorization": {"secret": "bearer"}, "X-Account": "4711"}'"""
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, secret="'sign'", headers=headers))
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    got, body = hook.requests[0]
    assert (got["authorization"], got["x-account"]) == ("Bearer t0ken-t0ken", "4711")
    signed = got["policyd-timestamp"].encode() + b"." + body
    assert (
        got["policyd-signature"] == "sha256=" + hmac.new(b"s3cret-s3cret", signed, hashlib.sha256).hexdigest()
    )


async def test_a_content_type_of_the_row_s_own_is_the_only_one(site, hook):
    headers = """'{"Content-Type": "application/x-records"}'"""
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, headers=headers))
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    assert hook.requests[0][0]["content-type"] == "application/x-records"


async def test_records_wait_for_a_secret_that_the_node_has_not_got(site, hook):
    node = await site.node(hooked(SOON), rows=ROWS + row("acme", hook, secret="'sign'"))
    await sent(node)
    await node.until(lambda: any("webhook 'acme': the secret 'sign' is not in" in t for _, t in node.logged))
    assert not hook.requests
    await site.change("update policy.webhook set secret = null", node)
    await node.until(lambda: hook.told == ["Delivery"])


async def test_a_secret_that_was_replaced_is_read_again_before_anything_is_dropped(site, hook, tmp_path):
    secret = tmp_path / "bearer"
    secret.write_text("old-old")
    site.options = {"secrets": f"{{ bearer = '{secret}' }}"}
    headers = """'{"Authorization": {"secret": "bearer"}}'"""
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, headers=headers))
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    secret.write_text("new-new")
    hook.status = 401
    await sent(node)
    await node.until(lambda: len(hook.requests) == 3)
    assert [headers["authorization"] for headers, _ in hook.requests] == ["old-old", "old-old", "new-new"]


async def test_a_secret_is_never_logged_whatever_the_endpoint_echoes(site, hook, tmp_path):
    (tmp_path / "bearer").write_text("hunter2-hunter2")
    site.options = {"secrets": f"{{ bearer = '{tmp_path}/bearer' }}"}
    headers = """'{"Authorization": {"secret": "bearer"}}'"""
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, headers=headers, secret="'bearer'"))
    hook.says = b"you sent hunter2-hunter2 and hunter2-hunter2!"
    for status in (200, 404, 503):
        hook.status, hook.requests = status, []
        await sent(node)
        await node.until(lambda: hook.requests)
    await node.advance(32)  # until it has reported
    said = json.dumps([node.logged, node.records, [message.meta for message in node.queued()]])
    assert said.count("you sent *** and ***!") > 4
    assert "hunter2" not in said
    assert "***" in (reported := str(await site.db.fetchval("select last_error from policy.node")))
    assert "hunter2" not in reported


async def test_an_outage_tells_the_last_known_webhooks_after_a_restart_too(site, hook):
    node = await site.node(hooked(), rows=ROWS + row("acme", hook))
    await sent(node)
    await node.until(lambda: len(hook.told) == 1)
    await node.advance(1)
    await site.endpoint.be("refused")
    await sent(node)
    await node.until(lambda: len(hook.told) == 2)
    await node.restart()
    await sent(node)
    await node.until(lambda: len(hook.told) == 3)


async def test_while_the_webhooks_were_never_known_records_wait_for_whoever_it_will_be(site, hook):
    rows = ROWS + row("acme", hook, "{Reception}", tenant="'acme'") + row("all", hook, "{Bounce}")
    await site.db.execute(rows)
    modules = hooked(SOON).replace(
        "queue_helper:apply(msg) end)\nkumo.on('http", "msg:set_meta('tenant', 'acme') end)\nkumo.on('http"
    )
    relays = (
        "kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_to = true } end)"
    )
    modules = modules.replace(
        "kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())", relays
    )
    await site.endpoint.be("refused")
    node = await site.node(modules)
    await sent(node)
    await node.advance(10)
    assert not hook.requests
    await site.endpoint.be("through")
    await node.until(lambda: hook.told == ["Reception"])
    await node.advance(5)
    assert hook.told == ["Reception"]
    assert [name for name in node.scheduler.queues if name.startswith("_")]
    assert not [message for message in node.queued() if message.queue.startswith("_")]


async def test_records_of_a_webhook_that_is_gone_are_dropped_once_that_is_known(site, hook):
    node = await site.node(hooked(SOON), rows=ROWS + row("acme", hook) + row("other", hook, "{Bounce}"))
    hook.status = 503
    await sent(node)
    await node.until(lambda: hook.requests)
    await site.endpoint.be("refused")
    await site.db.execute("delete from policy.webhook where name = 'acme'")
    requests = len(hook.requests)
    await node.advance(10)
    assert len(hook.requests) > requests  # nobody knows that it is gone
    await site.endpoint.be("through")
    await site.caught_up(node)
    requests = len(hook.requests)
    await node.until(
        lambda: any(
            "there is no such webhook any more; its records are dropped" in t for _, t in node.logged
        ),
        within=90,
    )
    assert len(hook.requests) == requests
    assert [record["type"] for record in node.records].count("Bounce") == 1


async def test_more_webhooks_than_slots_are_named_and_the_others_told(site):
    async with hooks(3) as (first, second, third):
        rows = row("a", first) + row("b", second) + row("c", third, "{Reception}")
        node = await site.node(hooked(), rows=ROWS + rows)
        await sent(node)
        await node.until(lambda: first.told and third.told)
        await node.advance(5)
        assert (first.told, second.told, third.told) == (["Delivery"], [], ["Reception"])
        assert any("too few slots (1): webhook 'b' is told of nothing" in text for _, text in node.logged)


async def test_webhooks_of_different_tenants_share_a_slot(site):
    async with hooks(2) as (first, second):
        rows = "insert into policy.tenant (name) values ('globex');"
        rows += row("a", first, tenant="'acme'") + row("g", second, tenant="'globex'")
        node = await site.node(hooked(), rows=ROWS + rows)
        await sent(node, data=TENANTED)
        await sent(node, data=TENANTED.replace(b"acme", b"globex"))
        await node.until(lambda: first.told == second.told == ["Delivery"])


async def test_a_webhook_that_comes_or_goes_disturbs_no_other(site):
    async with hooks(3) as (early, late, last):
        node = await site.node(hooked("slots = 3"), rows=ROWS + row("m", early))
        await sent(node)
        await node.until(lambda: early.told == ["Delivery"])
        await site.change(row("a", late) + row("z", last), node)
        await sent(node)
        await node.until(lambda: early.told == ["Delivery"] * 2 and late.told == last.told == ["Delivery"])
        assert slots_of(node) == {"m": 1, "a": 2, "z": 3}
        await site.change("delete from policy.webhook where name = 'a'", node)
        await sent(node)
        await node.until(lambda: len(early.told) == 3 and len(last.told) == 2)
        assert {name: slots_of(node)[name] for name in "mz"} == {"m": 1, "z": 3}


def slots_of(node):
    prefix = "policyd.1.slot."
    return {
        name.removeprefix(prefix): series.sum()
        for name, series in node.process.series.known.items()
        if name.startswith(prefix)
    }


async def test_records_are_not_throttled_as_their_tenant_s_mail_is(site, hook):
    rows = ROWS + "update policy.tenant set overall_max_message_rate = '2/minute';"
    node = await site.node(hooked(), rows=rows + row("acme", hook, "{Reception}"))
    for _ in range(6):
        await sent(node, data=TENANTED)
    await node.until(lambda: len(hook.records) == 6, within=10)


async def test_records_do_not_wait_while_mail_does(site, hook):
    node = await site.node(hooked(), rows=ROWS + row("acme", hook, "{Reception}"))
    await site.change("update policy.queue set egress_pool = null where domain = 'default'", node)
    await node.advance(10)
    await sent(node)
    await node.until(lambda: hook.told == ["Reception"])
    assert not node.delivered


async def test_headers_and_meta_are_captured_as_setup_says(site, hook):
    options = "log_parameters = { headers = { 'Subject' }, meta = { 'mine' } }"
    modules = hooked(options).replace(
        "queue_helper:apply(msg) end)\nkumo.on('http",
        "msg:set_meta('mine', 'yes') queue_helper:apply(msg) end)\nkumo.on('http",
    )
    node = await site.node(modules, rows=ROWS + row("acme", hook))
    await sent(node, data=TENANTED)
    await node.until(lambda: hook.told == ["Delivery"])
    (record,) = hook.records
    assert record["headers"] == {"Subject": "s"}
    assert (record["meta"]["tenant"], record["meta"]["mine"]) == ("acme", "yes")


async def test_retries_are_as_setup_says(site, hook):
    modules = hooked("queue_config = { retry_interval = '10s', max_age = '1 hour' }")
    node = await site.node(modules, rows=ROWS + row("acme", hook, batch_size="7"))
    config = await node.queue_config("acme.policyd.log_hook")
    protocol = config.pop("protocol")
    assert config == {"retry_interval": "10s", "max_retry_interval": "20m", "max_age": "1 hour"}
    assert protocol["custom_lua"] == {
        "constructor": "policyd.1.log_hook",
        "batch_size": 7,
        "min_batch_size": 7,
        "max_batch_latency": "0s",
    }
    assert (await node.queue_config("ghost.policyd.log_hook"))["protocol"]["custom_lua"]["batch_size"] == 100
    assert (await node.queue_config("_1.policyd.log_hook"))["protocol"]["custom_lua"]["batch_size"] == 1


async def test_rules_for_mail_do_not_slow_webhooks_down(site, hook):
    shaping = "kumo.on('get_egress_path_config', require('policyd.shaping'):setup_with_automation { no_default_files = true }.get_egress_path_config)"
    rows = "insert into policy.shaping_domain (domain, options) values ('default', '{\"max_message_rate\": \"1/h\"}');"
    node = await site.node(shaping + hooked().replace(STATIC, ""), rows=ROWS + rows)
    assert "max_message_rate" in await node.egress_path("a.example", "unspecified")
    path = await node.egress_path("acme.policyd.log_hook", "unspecified")
    assert "max_message_rate" not in path


@pytest.mark.parametrize(("latency", "seconds"), [("0s", 5), ("1m 30s", 95), ("500ms", 6), ("1 hour", 3605)])
async def test_a_batch_is_waited_for_as_long_as_the_row_says(site, hook, latency, seconds):
    modules = f"kumo.on('get_egress_path_config', require('policyd.shaping'):setup())\n{hooked()}"
    node = await site.node(
        modules.replace(STATIC, ""), rows=ROWS + row("acme", hook, max_batch_latency=f"'{latency}'")
    )
    path = await node.egress_path("acme.policyd.log_hook", "unspecified")
    assert path["idle_timeout"] == seconds


async def test_hooks_of_others_are_left_to_them(site, hook):
    modules = hooked().replace(
        "require('policyd.sources')",
        "kumo.on('should_enqueue_log_record', function(msg, name) if name == 'mine' then error 'asked' end end)\n"
        "kumo.on('pre_init', function() kumo.configure_log_hook { name = 'mine' } end)\n"
        "require('policyd.sources')",
    )
    node = await site.node(modules, rows=ROWS + row("acme", hook))
    await sent(node)
    await node.until(lambda: hook.told == ["Delivery"])
    assert any("asked" in text for _, text in node.logged)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (":setup { slots = 0 }", "the option 'slots' has to be a whole number from 1 to 20"),
        (":setup { slot = 2 }", "there is no option 'slot'"),
        (":setup { log_parameters = { name = 'x' } }", "'log_parameters' has to be a table for kumo"),
        (":setup { queue_config = { max_agee = '1h' } }", "'queue_config' has to be a table for kumo"),
        (":setup { queue_config = { protocol = {} } }", "'queue_config' has to be a table for kumo"),
        (":setup 'x'", "setup takes a table"),
    ],
)
async def test_a_mistake_is_said_in_the_caller_s_line(site, call, said):
    with pytest.raises(HandlerFailed) as raised:
        await site.kumod(site.policy(f"require('policyd.log_hooks'){call}"))
    text = str(raised.value)
    assert said in text
    assert text.startswith('runtime error: [string "policy.lua"]:3: policyd.log_hooks: ')


async def test_validation_names_webhooks_without_slot_and_secrets_that_are_missing(site, hook):
    rows = row("a", hook, secret="'sign'") + row("b", hook)
    node = await site.node(hooked(), rows=ROWS + rows)
    fine, said = await node.validate()
    assert not fine
    assert any(
        "webhook 'a': the secret 'sign' is not in the secrets of policyd:setup" in line for line in said
    )
    assert any("webhook 'b' would be told of nothing" in line and "slots (1)" in line for line in said)


async def test_validation_passes_where_all_is_well(site, hook):
    node = await site.node(hooked("slots = 2"), rows=ROWS + row("a", hook) + row("b", hook))
    assert await node.validate() == (True, [])


async def test_validation_notes_a_stock_hook_that_is_told_besides(site, hook):
    stock = "package.loaded['policy-extras.log_hooks'] = { CONFIGURED = { mine = {} } }\n"
    node = await site.node(stock + hooked(), rows=ROWS)
    fine, (said,) = await node.validate()
    assert fine
    assert "(not counted) policy-extras.log_hooks has the hook 'mine'" in said
