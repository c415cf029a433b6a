"""Moving helper by helper: each of KumoMTA's own beside the others of ours, in a real kumod, on the same policy."""

import pytest

from tests.contract.toml_writer import to_toml
from tests.kumod.site import GOLD, SHARED
from tests.kumod.test_validate import STOCK, needs_stock, validation

pytestmark = needs_stock
FILES: dict[str, dict[str, object]] = {
    "listener_domains": {"a.example": {"relay_from": ["127.0.0.1"]}},
    "sources": {
        "source": {
            "ip-1": {"source_address": SHARED, "ehlo_domain": "one.a.example"},
            "ip-2": {"source_address": GOLD, "ehlo_domain": "two.a.example"},
        },
        "pool": {"shared": {"ip-1": {}}, "gold": {"ip-2": {}}},
    },
    "queues": {
        "tenant_header": "X-Tenant",
        "campaign_header": "X-Campaign",
        "tenant": {"acme": {"egress_pool": "gold"}},
        "queue": {"default": {"egress_pool": "shared"}},
    },
}
MODULES = {
    "listener_domains": "kumo.on('get_listener_domain', require('{0}.listener_domains'):setup({1}))",
    "sources": "require('{0}.sources'):setup({1})",
    "queues": "local queue_helper = require('{0}.queue'):setup({1})",
}
RECEIVED = """
local function received(msg) queue_helper:apply(msg) end
kumo.on('smtp_server_message_received', received)
kumo.on('http_message_generated', received)
"""


@pytest.mark.parametrize("stock", [*MODULES, "all but queues"])
async def test_a_helper_of_kumomtas_beside_ours_makes_no_difference(site, stock, tmp_path):
    stock_ones = {"listener_domains", "sources"} if stock == "all but queues" else {stock}
    lines = [
        f"package.path = '{STOCK}/?.lua;' .. package.path",
        # As a policy with files has it; a stock helper looks whether it has.
        f"kumo.on('pre_init', function() kumo.set_config_monitor_globs {{ '{tmp_path}/*.toml' }} end)",
    ]
    for name, line in MODULES.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(to_toml(FILES[name]))
        lines.append(
            line.format("policy-extras", f"{{ '{path}' }}")
            if name in stock_ones
            else line.format("policyd", "")
        )
    await site.node("\n".join(lines) + RECEIVED)
    assert (await site.deliver()).peer == SHARED
    assert (await site.deliver(X_Tenant="acme")).peer == GOLD
    assert (await site.send(X_Tenant="ghost")).code == 500
    status, printed = await validation(site.kumod)
    assert status == 0, printed
