"""A kumod with policyd's modules, the service behind it, and the sink that its mail goes to."""

import asyncio
import inspect
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policyd.store.pool import Connection
from tests.integration.conftest import head
from tests.kumod.mail import RECIPIENT, SENDER, Reply, inject, message, send
from tests.kumod.process import PATIENCE, Kumod
from tests.kumod.sink import Delivery, Sink
from tests.lua.faults import Endpoint
from tests.lua.sites import KINDS

CLIENT = Path(__file__).parents[2] / "lua-client"
PACKAGE_PATH = f"{CLIENT}/?.lua;{CLIENT}/?/init.lua"
WORLD = """
local kumo = require 'kumo'
kumo.on('pre_init', function()
  -- kumod asks nobody else.
  kumo.dns.configure_test_resolver { [[
$ORIGIN example.
one.dest 600 MX 10 sink
dest 600 MX 10 sink
relay 600 MX 10 other
sink 600 A 127.0.0.1
other 600 A 127.0.0.1
]], [[
$ORIGIN com.
gmail 600 MX 10 mx.gmail
mx.gmail 600 A 127.0.0.1
]] }
end)
"""
"""All mail goes to this machine."""
PRELUDE = f"package.path = '{PACKAGE_PATH};' .. package.path\n{WORLD}"

MODULES = """
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
require('policyd.sources'):setup()
local queue_helper = require('policyd.queue'):setup()
local function received(msg) queue_helper:apply(msg) end
kumo.on('smtp_server_message_received', received)
kumo.on('http_message_generated', received)
"""
PATH = """
kumo.on('get_egress_path_config', function()
  return kumo.make_egress_path {
    smtp_port = %d, prohibited_hosts = {}, enable_tls = 'Disabled', refresh_strategy = 'Epoch',
  }
end)
"""
INIT = """
kumo.on('init', function()
  kumo.configure_accounting_db_path '{0}/accounting.db'
  for _, name in ipairs {{ 'data', 'meta' }} do
    kumo.define_spool {{ name = name, path = '{0}/' .. name }}
  end
  kumo.start_esmtp_listener {{ listen = '127.0.0.1:0', relay_hosts = {{ '192.0.2.1' }} }}
  kumo.start_esmtp_listener {{
    listen = '127.0.0.1:0', relay_hosts = {{ '192.0.2.1' }}, meta = {{ policyd_listener = 'mx' }},
  }}
  kumo.start_http_listener {{ listen = '127.0.0.1:0' }}
end)
"""
ROWS = """
insert into policy.listener_domain (domain, relay_from) values ('a.example', '{127.0.0.1}');
insert into policy.egress_source (name, source_address, ehlo_domain) values
  ('ip-1', '127.0.0.21', 'one.a.example'), ('ip-2', '127.0.0.22', 'two.a.example');
insert into policy.egress_pool (name) values ('shared'), ('gold');
insert into policy.egress_pool_entry (pool, source) values ('shared', 'ip-1'), ('gold', 'ip-2');
insert into policy.tenant (name, egress_pool) values ('acme', 'gold');
update policy.queue set egress_pool = 'shared' where domain = 'default';
update policy.queue_settings set tenant_header = 'X-Tenant', campaign_header = 'X-Campaign';
"""
SHARED, GOLD = "127.0.0.21", "127.0.0.22"
"""The addresses from which the mail of the two pools comes."""


@dataclass(slots=True)
class Site:
    """`await site.node()` starts the kumod; then `site.deliver()` sends mail through it, `site.change(sql)` changes its policy."""

    endpoint: Endpoint
    db: Connection
    token: Path
    directory: Path
    sink: Sink
    kumod: Kumod
    options: dict[str, Any] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def store(self) -> Path:
        return self.directory / "policyd" / "store.db"

    async def node(self, modules: str = MODULES, *, rows: str = ROWS, **options: Any) -> Kumod:
        """Start a kumod with *modules* that knows *rows*."""
        if rows:
            await self.db.execute(rows)
        self.write_policy(modules, **options)
        await self.kumod.start()
        if self.endpoint.mode == "through":
            await self.caught_up()
        return self.kumod

    def write_policy(self, modules: str = MODULES, **options: Any) -> Path:
        settings = {
            "endpoints": f"{{ '{self.endpoint.url}' }}",
            "token": f"'{self.token}'",
            "store": f"'{self.store}'",
            **self.options,
            **options,
        }
        setup = ", ".join(f"{name} = {value}" for name, value in settings.items())
        path = "" if "get_egress_path_config" in modules else PATH % self.sink.port
        self.kumod.policy.write_text(
            f"{PRELUDE}require('policyd'):setup {{ {setup} }}\n{modules}{path}{INIT.format(self.directory)}"
        )
        return self.kumod.policy

    async def send(self, subject: str = "s", recipient: str = RECIPIENT, **headers: str) -> Reply:
        return await send(self.kumod.smtp[0], SENDER, recipient, data=message(subject, **headers))

    async def inject(
        self, subject: str = "s", recipient: str = RECIPIENT, *, port: int | None = None, **settings: Any
    ) -> dict[str, Any]:
        return await inject(port or self.kumod.http[0], recipient, content=message(subject), **settings)

    async def deliver(self, subject: str = "s", recipient: str = RECIPIENT, **headers: str) -> Delivery:
        """Send a message, and wait until the sink has it."""
        number = str(next(self.numbers))
        reply = await self.send(subject, recipient, X_Number=number, **headers)
        assert reply.code == 250, reply
        return await self.sink.find(lambda delivery: delivery.header("X-Number") == number)

    async def change(self, sql: str) -> None:
        """Commit *sql*, and wait until the node has applied it."""
        await self.db.execute(sql)
        await self.caught_up()

    async def caught_up(self) -> None:
        """Wait until the node's store is at the log's head and its name index is whole."""
        position = await head(self.db)
        await until(lambda: self._applied() == position, every=0.02)

    def held(self) -> dict[str, str]:
        """The answers in the node's store, by path: their status."""
        return dict(self._rows("select path, status from entry"))

    def _applied(self) -> str | None:
        rows = self._rows(
            f"select number || '-' || stamp from position where (select count(*) from indexed) >= {KINDS}"
        )
        return rows[0][0] if rows else None

    def _rows(self, sql: str) -> list[Any]:
        try:
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=5) as store:
                return store.execute(sql).fetchall()
        except sqlite3.Error:
            return []


async def until(holds: Callable[[], Any], *, every: float = 0.05) -> None:
    """Look again and again until *holds*, which may be awaitable, says so: for what nobody announces."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            said = holds()
            if await said if inspect.isawaitable(said) else said:
                return
            await asyncio.sleep(every)
