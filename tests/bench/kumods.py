"""Real kumods with as many domains and tenants as a row needs: with policyd, with KumoMTA's own file helpers, with constants."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from policyd.store.pool import Connection
from tests.bench.databases import TOKEN
from tests.kumod.process import Kumod, binary
from tests.kumod.site import CLIENT

SHARE = Path("/opt/kumomta/share")
KINDS = ("policyd", "files", "constants")

_INIT = """
kumo.on('init', function()
  kumo.configure_accounting_db_path '{directory}/accounting.db'
  for _, name in ipairs {{ 'data', 'meta' }} do
    kumo.define_spool {{ name = name, path = '{directory}/' .. name }}
  end
  kumo.start_esmtp_listener {{ listen = '127.0.0.1:0', relay_hosts = {{ '192.0.2.1' }}, max_messages_per_connection = 100000000 }}
  kumo.start_http_listener {{ listen = '127.0.0.1:0' }}
end)
"""
# Reception is what is measured: what would become of the mail afterwards costs the same whoever made the policy.
_POLICIES = {
    "policyd": """
package.path = '{client}/?.lua;{client}/?/init.lua;' .. package.path
local kumo = require 'kumo'
require('policyd'):setup {{ endpoints = {{ '{url}' }}, token = '{directory}/token', store = '{directory}/store.db' }}
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
require('policyd.sources'):setup()
local queue_helper = require('policyd.queue'):setup()
kumo.on('smtp_server_message_received', function(msg)
  queue_helper:apply(msg)
  msg:set_meta('queue', 'null')
end)
""",
    "files": """
package.path = '{share}/?.lua;' .. package.path
local kumo = require 'kumo'
kumo.on('get_listener_domain', require('policy-extras.listener_domains'):setup {{ '{files}/listener_domains.toml' }})
require('policy-extras.sources'):setup {{ '{files}/sources.toml' }}
local queue_helper = require('policy-extras.queue'):setup {{ '{files}/queues.toml' }}
kumo.on('smtp_server_message_received', function(msg)
  queue_helper:apply(msg)
  msg:set_meta('queue', 'null')
end)
""",
    "constants": """
local kumo = require 'kumo'
kumo.on('get_listener_domain', function() return kumo.make_listener_domain {{ relay_to = true }} end)
kumo.on('smtp_server_message_received', function(msg)
  msg:set_meta('tenant', 'constant')
  msg:set_meta('queue', 'null')
end)
""",
}
_ROWS = """
insert into policy.listener_domain (domain, relay_to, relay_from, log_oob, log_arf)
  select format('d%s.example', lpad(i::text, 5, '0')), true, '{192.0.2.0/24,198.51.100.0/24}', 'LogThenDrop', 'LogThenRelay'
    from generate_series(0, $1 - 1) i;
insert into policy.tenant (name, egress_pool, options)
  select 't' || lpad(i::text, 5, '0'), 'bench', '{"max_age": "2 days", "retry_interval": "10m", "max_retry_interval": "2h"}'
    from generate_series(0, $1 - 1) i;
"""
_DOMAIN = """
relay_to = true
relay_from = ['192.0.2.0/24', '198.51.100.0/24']
log_oob = 'LogThenDrop'
log_arf = 'LogThenRelay'
"""
_TENANT = """
egress_pool = 'bench'
max_age = '2 days'
retry_interval = '10m'
max_retry_interval = '2h'
"""
_POOL = """
insert into policy.egress_source (name) values ('bench');
insert into policy.egress_pool (name) values ('bench');
insert into policy.egress_pool_entry (pool, source) values ('bench', 'bench');
update policy.queue set egress_pool = 'bench' where domain = 'default';
update policy.queue_settings set tenant_header = 'X-Tenant';
"""


def is_there() -> bool:
    """Whether a kumod can be started."""
    return binary() is not None


async def fill(db: Connection, keys: int) -> None:
    """As many listener domains and tenants as rows."""
    await db.execute(_POOL)
    for statement in filter(None, map(str.strip, _ROWS.split(";"))):
        await db.execute(statement, keys)
    await db.execute("vacuum analyze")


def write_files(directory: Path, keys: int) -> None:
    """The same in the helpers' files."""
    domains = "".join(f'["d{i:05d}.example"]\n{_DOMAIN}' for i in range(keys))
    tenants = "".join(f"[tenant.'t{i:05d}']\n{_TENANT}" for i in range(keys))
    (directory / "listener_domains.toml").write_text(domains)
    (directory / "queues.toml").write_text(
        f"tenant_header = 'X-Tenant'\n[queue.default]\negress_pool = 'bench'\n{tenants}"
    )
    (directory / "sources.toml").write_text("[source.'bench']\n[pool.'bench'.'bench']\n")


@dataclass(frozen=True, slots=True)
class Running:
    """A kumod under test."""

    kind: str
    kumod: Kumod

    @property
    def port(self) -> int:
        return self.kumod.smtp[0]

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.kumod.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> int:
        """The most bytes of memory that it ever held."""
        status = Path(f"/proc/{self.kumod.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@contextlib.asynccontextmanager
async def running(kind: str, files: Path, url: str) -> AsyncIterator[Running]:
    """A kumod of one of the KINDS, with what `fill` and `write_files` have made."""
    directory = files / kind
    directory.mkdir(mode=0o700)
    (directory / "token").write_text(TOKEN)
    names = {"directory": directory, "files": files, "client": CLIENT, "share": SHARE, "url": url}
    policy = directory / f"{kind}.lua"
    policy.write_text((_POLICIES[kind] + _INIT).format_map(names))
    kumod = Kumod(policy=policy, directory=directory)
    with _everywhere():
        await kumod.start()
    try:
        yield Running(kind, kumod)
    finally:
        await kumod.stop(signal.SIGKILL)


@contextlib.contextmanager
def _everywhere() -> Iterator[None]:
    """What is started meanwhile may run on every core."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
