"""Shaping from rows, as a real kumod merges and applies it."""

import json

import pytest

from tests.kumod.site import MODULES, ROWS, until

# Without KumoMTA's own file, which is not there where only the binary is.
SHAPED = MODULES + (
    "local shaper = require('policyd.shaping'):setup_with_automation { no_default_files = true }\n"
    "kumo.on('get_egress_path_config', shaper.get_egress_path_config)\n"
)


@pytest.fixture
def shaping_rows(site):
    options = {
        "smtp_port": site.sink.port,
        "prohibited_hosts": [],
        "enable_tls": "Disabled",
        "max_deliveries_per_connection": 1,
    }
    return f"""
        insert into policy.shaping_domain (domain, options) values ('default', '{json.dumps(options)}');
        insert into policy.shaping_domain (domain, mx_rollup, options) values
          ('relay.example', false, '{{"ehlo_domain": "first.example"}}');
    """


async def test_mail_goes_by_the_rows_and_after_a_change_by_the_new_ones(site, shaping_rows):
    await site.node(SHAPED, rows=ROWS + shaping_rows)
    assert (await site.deliver()).greeting == "one.a.example"
    assert (await site.deliver(recipient="y@relay.example")).greeting == "first.example"
    await site.db.execute(
        """update policy.shaping_domain set options = '{"ehlo_domain": "second.example"}'
           where domain = 'relay.example'"""
    )

    async def is_changed():
        return (await site.deliver(recipient="y@relay.example")).greeting == "second.example"

    await until(is_changed)


async def test_without_rows_known_mail_waits_and_then_goes(site, shaping_rows):
    await site.db.execute(ROWS + shaping_rows)
    await site.endpoint.be("refused")
    node = await site.node(SHAPED, rows="")
    for i in range(12):
        assert (await site.inject(f"held-{i}"))["fail_count"] == 0
    await site.endpoint.be("through")
    await site.caught_up()
    await site.sink.receive(1)
    await node.flush()
    await site.sink.receive(12)
    await site.endpoint.be("refused")
    await node.restart()
    await site.inject("after")
    await site.sink.find(lambda delivery: delivery.header("Subject") == "after")
