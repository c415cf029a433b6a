"""
Names as strangers and operators write them.

Decided here, as a mail operator would want it: whatever stands behind an `@` is answered, through the wildcards if
need be, because a refusal would hold mail for a name that only its sender chose. A source's, pool's or tenant's name
comes from a row, so one that cannot be in a row is the asker's mistake. `+` is a plus sign.
"""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.conftest import Postgres
from tests.integration.conftest import Service, serving_rows
from tests.integration.wire import assert_problem, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = """
    insert into policy.listener_domain (domain, relay_to) values
      ('*', false), ('*.example', true), ('xn--bcher-kva.example', true), ('_dmarc.foo_bar.example', true);
    insert into policy.queue (domain, options) values ('*', '{"retry_interval": "7m"}');
    insert into policy.egress_pool (name) values ('a/b'), ('50%'), ('a b+c'), ('ämter'), ('..');
"""
LONG = ".".join(["a" * 60] * 5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(postgres: Postgres) -> AsyncIterator[Service]:
    async with serving_rows(postgres, ROWS) as running_service:
        yield running_service


@pytest.mark.parametrize(
    ("written", "row"),
    [
        ("", "*"),
        (".", "*"),
        ("..", "*"),
        ("[192.0.2.1]", "*"),
        ("%5BIPv6:2001:DB8::1%5D", "*"),
        ("[192.0.2.1].example", "*.example"),
        (f"{LONG}.example", "*.example"),
        ("a" * 300, "*"),
        (f"{'b' * 64}.example", "*.example"),
        ("a..example", "*.example"),
        ("x%20y.example", "*.example"),
        ("a%2Fb.example", "*.example"),
        ("a%25b.example", "*.example"),
        ("%C3%BC_.example", "*.example"),
        ("'%3B--.example", "*.example"),
        ("_DMARC.Foo_Bar.EXAMPLE.", "_dmarc.foo_bar.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example.", "xn--bcher-kva.example"),
        ("B%C3%BCCHER.Example", "xn--bcher-kva.example"),
        ("bu%CC%88cher.example", "xn--bcher-kva.example"),
        ("b%C3%BCcher%E3%80%82example", "xn--bcher-kva.example"),
    ],
)
async def test_every_domain_is_answered_by_the_nearest_row_that_can_be(
    service: Service, written: str, row: str
) -> None:
    async with wire(service.url) as connection:
        first = await connection.get(f"/listener-domain/{written}")
        assert (first.status, first.json["tags"][-1]) == (200, f"listener_domain/*/{row}")
        assert (await connection.get(f"/listener-domain/{written}")).body == first.body
        assert (await connection.get(f"/queue/{written}")).json["answer"]["options"]["retry_interval"] == "7m"


async def test_all_ways_to_write_a_name_share_one_cached_answer(service: Service) -> None:
    ways = [
        "bücher.example",
        "BÜCHER.example.",
        "xn--bcher-kva.EXAMPLE",
        "bücher\uff0eexample",
        "bu\u0308cher.example.",
    ]
    misses, hits = await _answered(service, "miss"), await _answered(service, "hit")
    rows = {(await service.get(f"/queue/{quote(way)}?campaign=&tenant="))[1]["tags"][2] for way in ways}
    assert rows == {"queue/xn--bcher-kva.example"}
    assert await _answered(service, "miss") - misses <= 1
    assert await _answered(service, "hit") - hits >= len(ways) - 1


@pytest.mark.parametrize("name", ["a/b", "50%", "a b+c", "ämter", ".."])
async def test_names_that_operators_choose_are_used_as_they_are(service: Service, name: str) -> None:
    async with wire(service.url) as connection:
        for _ in range(2):
            reply = await connection.get(f"/egress-pool/{quote(name, safe='')}")
            assert (reply.status, reply.json["answer"]["name"]) == (200, name)
        if name == "a b+c":
            assert (await connection.get("/egress-pool/a%20b+c")).status == 200
            assert (await connection.get("/egress-pool/a+b+c")).status == 404


@pytest.mark.parametrize("kind", ["egress-source", "egress-pool", "tenant"])
async def test_a_name_that_no_row_can_have_is_the_asker_s_mistake(service: Service, kind: str) -> None:
    async with wire(service.url) as connection:
        for name in ("", "n" * 256, "n" * 300, "a%09b", "%7F"):
            assert_problem(await connection.get(f"/{kind}/{name}"), 400, "lookup-invalid")
        assert (await connection.get(f"/{kind}/{'n' * 255}")).status == 404


async def test_a_tenant_or_campaign_of_a_message_that_cannot_be_a_row_is_only_not_known(
    service: Service,
) -> None:
    async with wire(service.url) as connection:
        reply = await connection.get(f"/queue/x.example?tenant={'t' * 300}&campaign={'c' * 300}")
        assert (reply.status, reply.json["answer"]["tenant_known"]) == (200, False)
        assert_problem(await connection.get(f"/queue/x.example?tenant={'t' * 1001}"), 400, "lookup-invalid")


async def test_parameters_that_say_nothing_are_as_if_not_given(service: Service) -> None:
    async with wire(service.url) as connection:
        plain = await connection.get("/listener-domain/x.example")
        for same in ("?listener=*", "?listener=", "?listener", "?", "?&"):
            assert (await connection.get(f"/listener-domain/x.example{same}")).body == plain.body


async def _answered(service: Service, outcome: str) -> float:
    sample = f'policyd_lookups_total{{kind="queue",outcome="{outcome}"}} '
    async with service.session.get(service.admin_url + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.removeprefix(sample)) for line in lines if line.startswith(sample))
