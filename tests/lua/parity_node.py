"""A node that answers the questions of tests/contract: with what its handlers give to kumod's constructors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from policyd.operate.importing import ImportReport, import_rows
from policyd.store.pool import Connection
from tests.contract.importing import read
from tests.contract.reference.files import Policy, merged_deep, table
from tests.contract.reference.queue import Accepted, Rejected
from tests.contract.reference.trie import normalised
from tests.contract.strategies import AUTHZ, CAMPAIGNS, TENANTS, names_near
from tests.lua.kumo_sim.clock import Clock
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.messages import Message
from tests.lua.kumo_sim.node import Node

MODULES = """
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
require('policyd.sources'):setup()
local queue_helper = require('policyd.queue'):setup()
kumo.on('resolve', function(...) return kumo.make_queue_config(queue_helper:resolve_config(...)) end)
kumo.on('apply', function(msg) queue_helper:apply(msg) end)
kumo.on('status_of_pool', function(name) return require('policyd.egress').find_pool(name).status end)
"""
ANSWERED = ("listener_domain", "queue", "egress_pool", "egress_source")
# What a queue gets that must not send: without a row for its tenant, or without any pool.
HOLD = {
    "egress_pool": "policyd-hold",
    "max_age": "365 days",
    "refresh_interval": "10 seconds",
    "refresh_strategy": "Ttl",
    "retry_interval": "20 minutes",
}
PEER = "192.0.2.1"
_NOTHING = """
delete from policy.listener_domain;
delete from policy.queue_campaign; delete from policy.queue_tenant;
delete from policy.queue where domain <> 'default';
update policy.queue set egress_pool = null, routing_domain = null, options = '{}';
update policy.queue_settings set scheduling_header = null, tenant_header = null, campaign_header = null, remove_tenant_header = null,
  remove_campaign_header = null, default_tenant = null, on_missing = 'hold';
delete from policy.tenant_campaign; delete from policy.tenant;
delete from policy.egress_pool where name <> 'unspecified';
delete from policy.egress_source where name <> 'unspecified';
"""


async def replace(db: Connection, policy: Policy) -> ImportReport:
    """Commit a policy in place of whatever there was, in one transaction."""
    async with db.transaction():
        await db.execute("set local policy.allow_mass_change = 'another policy'")
        await db.execute(_NOTHING)
        return await import_rows(db, read(policy), dry_run=False, actor=None, reason="parity")


async def given(node: Node, question: Mapping[str, Any], **meta: Any) -> Any:
    """
    The parameters, in the form of the recorded answers; None for none. *meta* is of the SMTP connection.

    The `ttl` that our pools and sources have is a matter of kumod's caches, not of policy.
    """
    match question["kind"]:
        case "listener_domain":
            return await node.listener_domain(question["domain"], question["listener"], **meta)
        case "queue":
            return await _queue(node, question["domain"], question["tenant"], question["campaign"])
        case "egress_pool":
            return await _pool(node, question["name"])
        case "egress_source":
            return await _source(node, question["name"])
        case other:
            raise AssertionError(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What queue_helper:apply looks at."""

    headers: Mapping[str, str]
    domain: str
    authz_id: str | None

    def message(self, clock: Clock) -> Message:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        data = f"From: x@a.example\r\n{lines}Subject: s\r\n\r\nhi\r\n".encode()
        meta = {} if self.authz_id is None else {"authz_id": self.authz_id}
        return Message(clock, "x@a.example", [f"y@{self.domain}"], data, meta)


@st.composite
def mails(draw: st.DrawFn, policy: Policy) -> Mail:
    """Messages near to what the files say of tenants and domains, with the domain as kumod gives it."""
    names = {"X-Tenant": TENANTS, "X-Customer": TENANTS, "X-Campaign": CAMPAIGNS}
    headers = {name: draw(st.sampled_from(values)) for name, values in names.items() if draw(st.booleans())}
    known = set(table(merged_deep(policy["queues"]).get("queue")))
    authz_id = draw(st.sampled_from([None, *AUTHZ, "eve"]))
    return Mail(headers=headers, domain=normalised(draw(names_near(known))), authz_id=authz_id)


async def applied(node: Node, message: Message) -> Rejected | Accepted:
    """What queue_helper:apply does to a message, in the form of the model."""
    try:
        await node.call("apply", message)
    except HandlerFailed as failure:
        if failure.rejection is None or failure.rejection.code != 500:
            raise
        return Rejected(reason=failure.rejection.message)
    return Accepted(**{name: message.meta.get(name) for name in ("campaign", "tenant", "routing_domain")})


async def _queue(node: Node, *asked: str | None) -> dict[str, Any]:
    """What resolve_config answers, which is what the handler makes a queue of."""
    calls = [("resolve", asked), ("get_queue_config", (*asked, None))]
    made = [await node.run(node.process.call(event, *arguments)) for event, arguments in calls]
    resolved, handled = (results[0].params for results in made if results)
    assert resolved == handled, asked
    return dict(resolved)


async def _pool(node: Node, name: str) -> dict[str, Any] | None:
    pool = await node.egress_pool(name)
    if "entries" in pool:
        return {"name": pool["name"], "entries": pool["entries"]}
    # One that is not there is empty, too: a raise would leave its mail alone until a restart.
    status = await node.call("status_of_pool", name)
    return None if status == ("none",) else {"name": pool["name"], "entries": []}


async def _source(node: Node, name: str) -> dict[str, Any] | None:
    try:
        source = await node.egress_source(name)
    except HandlerFailed as failure:
        if f"egress source '{name}': none" not in str(failure):
            raise
        return None
    return {key: value for key, value in source.items() if key != "ttl"}
