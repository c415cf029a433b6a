"""A node with policyd's modules in front of a real service: what most tests of the Lua client begin with."""

import json
import re
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policyd.store.pool import Connection
from tests.integration.conftest import head
from tests.lua.faults import Endpoint
from tests.lua.kumo_sim.node import Node

LUA = Path(__file__).parents[2] / "lua-client" / "policyd"
MODULES = """
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
require('policyd.sources'):setup()
local queue_helper = require('policyd.queue'):setup()
kumo.on('smtp_server_message_received', function(msg) queue_helper:apply(msg) end)
kumo.on('http_message_generated', function(msg) queue_helper:apply(msg) end)
kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
"""
ROWS = """
insert into policy.listener_domain (domain, relay_to) values ('a.example', true), ('*.wild.example', true);
insert into policy.egress_source (name, source_address) values ('ip-1', '192.0.2.1'), ('ip-2', '192.0.2.2');
insert into policy.egress_pool (name) values ('shared'), ('gold');
insert into policy.egress_pool_entry (pool, source) values ('shared', 'ip-1'), ('gold', 'ip-2');
insert into policy.tenant (name, egress_pool) values ('acme', 'gold');
update policy.queue set egress_pool = 'shared' where domain = 'default';
update policy.queue_settings set tenant_header = 'X-Tenant';
"""
ASK = """
local lookup, kinds = require 'policyd.lookup', require 'policyd.kinds'
kumo.on('ask', function(kind, ...) return kumo.json_encode(lookup.ask(kinds[kind](...))) end)
"""
KINDS = len(
    re.findall(r"(?m)^  '\w+',$", (LUA / "tags.lua").read_text().partition("mod.NAMED")[2].partition("}")[0])
)
"""How many kinds of documents a node has an index of."""
SENDER, RECIPIENT = "x@a.example", "y@dest.a.example"


def policy(endpoints: list[str], token: Path, store: Path, modules: str = MODULES, **options: Any) -> str:
    """A policy script that sets policyd up, then *modules*; *options* are Lua expressions."""
    urls = ", ".join(f"'{url}'" for url in endpoints)
    more = "".join(f", {name} = {value}" for name, value in options.items())
    return (
        "local kumo = require 'kumo'\n"
        f"require('policyd'):setup {{ endpoints = {{ {urls} }}, token = '{token}', store = '{store}'{more} }}\n"
        f"{modules}"
    )


async def ask(node: Node, kind: str, *arguments: Any) -> dict[str, Any]:
    """What lookup.ask gives to a handler of *node*, without what only handlers need; the policy holds ASK."""
    results = await node.call("ask", kind, *arguments)
    assert results is not None
    found = json.loads(results[0])
    return {name: found[name] for name in ("status", "stale", "answer") if name in found}


@dataclass(slots=True)
class Site:
    """A node, the way to its service, the service's database, and the node's store."""

    kumod: Callable[..., Awaitable[Node]]
    endpoint: Endpoint
    db: Connection
    token: Path
    store: Path
    options: dict[str, Any] = field(default_factory=dict)
    kumod_settings: dict[str, Any] = field(default_factory=dict)

    async def node(self, modules: str = MODULES, *, rows: str = "", **options: Any) -> Node:
        """Start a node that has applied *rows*."""
        if rows:
            await self.db.execute(rows)
        node = await self.kumod(self.policy(modules, **options), **self.kumod_settings)
        self.endpoint.clock = node.clock
        if self.endpoint.mode == "through":
            await self.caught_up(node)
        return node

    def policy(self, modules: str = MODULES, **options: Any) -> str:
        return policy([self.endpoint.url], self.token, self.store, modules, **(self.options | options))

    async def change(self, sql: str, node: Node) -> None:
        """Commit *sql* and wait until the node has applied it."""
        await self.db.execute(sql)
        await self.caught_up(node)

    async def caught_up(self, node: Node) -> None:
        """Wait until the node's store is at the log's head, and its index is complete."""
        position = await head(self.db)
        await node.until(lambda: self.position() == position and self.indexed() >= KINDS)
        await node.settle()

    def position(self) -> str | None:
        """What the store has applied."""
        row = self._row("select number || '-' || stamp from position")
        return row[0] if row else None

    def indexed(self) -> int:
        row = self._row("select count(*) from indexed")
        return row[0] if row else 0

    def held(self) -> dict[str, str]:
        """The answers in the store, by path: their status."""
        with sqlite3.connect(self.store, timeout=5) as store:
            return dict(store.execute("select path, status from entry").fetchall())

    def asked(self, path: str) -> int:
        """How often the service was asked for *path*."""
        return sum(line.split(" ")[1] == path for line in self.endpoint.requests)

    def _row(self, sql: str) -> Any:
        try:
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=5) as store:
                return store.execute(sql).fetchone()
        except sqlite3.Error:
            return None
