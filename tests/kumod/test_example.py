"""The example policy, installed as an operator installs it, on the rows that `make run` imports: a real kumod with everything at once."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from policyd.operate.first_run import make_examples, make_keys
from policyd.operate.helper_files import read_paths
from policyd.operate.importing import import_rows
from policyd.shipped import example_root
from tests.kumod.mail import send
from tests.kumod.signatures import signers
from tests.kumod.site import WORLD, until
from tests.kumod.test_validate import validation
from tests.kumod.webhooks import webhook

INSTALLER = Path(__file__).parents[2] / "lua-client" / "install.sh"
MAIL = b"From: news@acme.example\r\nTo: x@gmail.com\r\nSubject: s\r\n\r\nhi\r\n"
# Ports, the kind of the spool and the service's address are a host's; all else is the example's.
AROUND = """
for _, name in ipairs {{ 'start_esmtp_listener', 'start_http_listener' }} do
  local start = kumo[name]
  kumo[name] = function(params)
    params.listen = '127.0.0.1:0'
    start(params)
  end
end
local define_spool = kumo.define_spool
function kumo.define_spool(params)
  params.kind = 'LocalDisk'
  define_spool(params)
end
local policyd = require 'policyd'
local setup = policyd.setup
function policyd:setup(options)
  options.endpoints = {{ '{endpoint}' }}
  setup(self, options)
end
local shaping = require 'policyd.shaping'
if not io.open(shaping.PACKAGED) then
  shaping.PACKAGED = '{empty}' -- where only the binary is
end
dofile '{example}'
"""


@pytest.fixture
async def example(site, key_directory, tmp_path):
    """A node below a directory of its own, the example's rows, and the login of its tenant."""
    found = read_paths([str(example_root())])
    await import_rows(site.db, found, dry_run=False, actor=None, reason="the example")
    await make_examples(site.db, tmp_path / "credential.json")
    await site.db.execute("delete from policy.webhook")
    make_keys(example_root(), key_directory)
    local = {"smtp_port": site.sink.port, "prohibited_hosts": [], "enable_tls": "Disabled"}
    await site.db.execute(
        f"""
        update policy.egress_source set source_address = '127.0.0.40', ha_proxy_server = null, ha_proxy_source_address = null
          where name <> 'unspecified';
        update policy.egress_source set source_address = '127.0.0.41' where name ~ '^acme';
        insert into policy.shaping_domain (domain, options) values ('default', '{json.dumps(local)}')
          on conflict (domain) do update set options = shaping_domain.options || excluded.options;
        """
    )
    root = site.directory
    installer = await asyncio.create_subprocess_exec(
        "sh", str(INSTALLER), env={**os.environ, "DESTDIR": str(root)}, stdout=asyncio.subprocess.DEVNULL
    )
    assert await installer.wait() == 0
    (root / "var/log/kumomta").mkdir(parents=True)
    site.token.rename(root / "opt/kumomta/etc/policyd/token")
    (tmp_path / "empty.toml").touch()
    share = root / "opt/kumomta/share"
    site.kumod.policy.write_text(
        f"package.path = '{share}/?.lua;{share}/?/init.lua;' .. package.path\n"
        + WORLD
        + AROUND.format(
            endpoint=site.endpoint.url, empty=tmp_path / "empty.toml", example=example_root() / "init.lua"
        )
    )
    site.kumod.environment["KUMO_ROOT"] = str(root)
    return site, json.loads((tmp_path / "credential.json").read_text())


async def test_the_example_is_valid_and_sends_signed_mail_of_who_has_logged_in_through_an_outage(
    example,
    receiver,
    key_directory,
):
    site, login = example
    status, printed = await validation(site.kumod)
    assert status == 0, printed
    await site.db.execute(webhook(receiver, events="'{Delivery}'"))
    await site.kumod.start()
    keys = {f"{path.stem}@{path.parent.name}": path.read_bytes() for path in key_directory.rglob("*.key")}

    async def accepts() -> bool:
        reply = await send(
            site.kumod.smtp[1],
            "news@acme.example",
            "x@gmail.com",
            data=MAIL,
            login=(login["username"], login["password"]),
        )
        return reply.code == 250

    await until(accepts)
    (delivery,) = await site.sink.receive()
    assert delivery.peer == "127.0.0.41"
    assert {re.sub(".*@", "", each) for each in signers(delivery, keys)} == {"acme.example"}
    record = await receiver.record(type="Delivery")
    assert (record["meta"]["tenant"], record["egress_pool"]) == ("acme", "acme")
    await site.endpoint.be("refused")
    await site.kumod.restart(signal.SIGKILL)
    assert await accepts()
    delivery = (await site.sink.receive(2))[1]
    assert delivery.peer == "127.0.0.41"
    assert {re.sub(".*@", "", each) for each in signers(delivery, keys)} == {"acme.example"}
    await until(lambda: len(receiver.records()) >= 2)
