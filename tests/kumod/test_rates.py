"""
How fast a real kumod takes mail: with policyd's modules, KumoMTA's helpers, and handlers that only return constants, in turns.

The numbers are printed (`make soak ARGS='tests/kumod/test_rates.py -s'`): a machine that is busy proves nothing.
"""

import asyncio
import signal
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.contract.toml_writer import to_toml
from tests.kumod import injector
from tests.kumod.process import Kumod
from tests.kumod.site import INIT, MODULES, PRELUDE
from tests.kumod.test_validate import STOCK, needs_stock

pytestmark = [pytest.mark.soak, needs_stock]
ROUNDS, SECONDS, CONNECTIONS = 3, 3, 16
SWALLOW = " msg:set_meta('queue', 'null') end"
CONSTANT = """
local kumo = require 'kumo'
kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_from = { '127.0.0.1' } } end)
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('queue', 'null') end)
"""
HELPERS = """
package.path = '%(stock)s/?.lua;' .. package.path
local kumo = require 'kumo'
kumo.on('get_listener_domain', require('policy-extras.listener_domains'):setup { '%(files)s/listener_domains.toml' })
require('policy-extras.sources'):setup { '%(files)s/sources.toml' }
local queue_helper = require('policy-extras.queue'):setup { '%(files)s/queues.toml' }
kumo.on('smtp_server_message_received', function(msg) queue_helper:apply(msg) msg:set_meta('queue', 'null') end)
"""


@pytest.mark.parametrize("names", [100, 1_000, 10_000])
async def test_reception(site, tmp_path, names):
    await site.db.execute(
        f"""
        insert into policy.listener_domain (domain, relay_from)
          select 'd' || i || '.example', '{{127.0.0.1}}' from generate_series(0, {names - 1}) i;
        insert into policy.egress_source (name) values ('ip-1');
        insert into policy.egress_pool (name) values ('shared');
        insert into policy.egress_pool_entry (pool, source) values ('shared', 'ip-1');
        insert into policy.tenant (name, egress_pool) select 't' || i, 'shared' from generate_series(0, {names - 1}) i;
        update policy.queue set egress_pool = 'shared' where domain = 'default';
        update policy.queue_settings set tenant_header = 'X-Tenant';
        """
    )
    ours = MODULES.replace("queue_helper:apply(msg) end", "queue_helper:apply(msg)" + SWALLOW)
    await site.node(ours, rows="")
    kumods = {"policyd": site.kumod}
    texts = {"constants": CONSTANT, "helpers": HELPERS % {"stock": STOCK, "files": tmp_path}}
    write_files(tmp_path, names)
    for name, text in texts.items():
        directory = tmp_path / name
        directory.mkdir()
        policy = directory / "init.lua"
        policy.write_text(PRELUDE + text + INIT.format(directory))
        kumods[name] = Kumod(policy, directory)
        await kumods[name].start()
    try:
        await measured(kumods, names)
    finally:
        for kumod in kumods.values():
            await kumod.stop(signal.SIGKILL)


def write_files(directory: Path, names: int) -> None:
    """The same policy in the files of KumoMTA's helpers."""
    files: dict[str, dict[str, object]] = {
        "listener_domains": {injector.domain(i): {"relay_from": ["127.0.0.1"]} for i in range(names)},
        "sources": {"source": {"ip-1": {}}, "pool": {"shared": {"ip-1": {}}}},
        "queues": {
            "tenant_header": "X-Tenant",
            "tenant": {injector.tenant(i): {"egress_pool": "shared"} for i in range(names)},
            "queue": {"default": {"egress_pool": "shared"}},
        },
    }
    for name, content in files.items():
        (directory / f"{name}.toml").write_text(to_toml(content))


async def measured(kumods: dict[str, Kumod], names: int) -> None:
    cold = await Load.of(kumods["policyd"], names, 0)
    loads: dict[str, list[Load]] = {name: [] for name in kumods}
    for _ in range(ROUNDS):
        for name, kumod in kumods.items():
            loads[name].append(await Load.of(kumod, names))
    rates = {name: statistics.median(load.rate for load in each) for name, each in loads.items()}
    costs = {name: statistics.median(load.cost for load in each) for name, each in loads.items()}
    print(f"\n{names} domains and tenants; policyd cold {cold}")  # noqa: T201
    for name, kumod in kumods.items():
        print(  # noqa: T201
            f"  {name}: {Load(rates[name], costs[name])}, {kumod.memory():.0f} MB; policyd / it:"
            f" {rates['policyd'] / rates[name]:.2f} by the clock, {costs[name] / costs['policyd']:.2f} by CPU time"
        )


@dataclass(frozen=True, slots=True)
class Load:
    """Messages per second, and kumod's CPU time for one; the latter hardly minds what else the machine does."""

    rate: float
    cost: float

    def __str__(self) -> str:
        return f"{self.rate:.0f} msg/s, {self.cost * 1e6:.0f} µs CPU each"

    @classmethod
    async def of(cls, kumod: Kumod, names: int, seconds: int = SECONDS) -> Self:
        before = kumod.cpu()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            injector.__file__,
            *map(str, (kumod.smtp[0], seconds, CONNECTIONS, names)),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        sent, rate = printed.split()
        return cls(float(rate), (kumod.cpu() - before) / int(sent))
