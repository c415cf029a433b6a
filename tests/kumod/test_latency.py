"""
How long it takes from a commit until it is seen on the wire.

The numbers are printed (`make soak ARGS='tests/kumod/test_latency.py -s'`); what passes or fails is far from them, because a machine may be busy.
"""

import asyncio
import smtplib
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.integration.signing import KeyFiles
from tests.kumod.process import PATIENCE
from tests.kumod.signatures import signers
from tests.kumod.sink import Delivery
from tests.kumod.site import GOLD, SHARED, until
from tests.kumod.test_dkim import DKIM_ROWS, FIRST, SECOND, SIGNING

pytestmark = pytest.mark.soak
RUNS = 30
GRANT = "insert into policy.listener_domain (domain, relay_from) values ('a.example', '{127.0.0.1}')"


def told(what: str, seconds: list[float], *, most: float) -> None:
    ordered = sorted(seconds)
    quantiles = {p: ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99)}
    shown = ", ".join(f"p{p} {value * 1000:.0f} ms" for p, value in quantiles.items())
    print(f"\n{what}, {len(seconds)} times: {shown}")  # noqa: T201
    assert quantiles[50] < most


async def timed(commit: Awaitable[object], is_seen: Callable[[], Awaitable[bool]]) -> float:
    await commit
    began = time.monotonic()
    await until(is_seen, every=0)
    return time.monotonic() - began


async def test_a_listener_domain_is_revoked_and_granted_within_a_fraction_of_a_second(site):
    node = await site.node()

    async def is_granted() -> bool:
        return await asyncio.to_thread(accepts, node.smtp[0])

    async def is_revoked() -> bool:
        return not await is_granted()

    seconds = []
    for _ in range(RUNS):
        seconds.append(await timed(site.db.execute("delete from policy.listener_domain"), is_revoked))
        await asyncio.sleep(0.15)  # the feed rests for a tenth of a second after an answer
        seconds.append(await timed(site.db.execute(GRANT), is_granted))
        await asyncio.sleep(0.15)
    told("listener domain", seconds, most=1)


def accepts(port: int) -> bool:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
        client.ehlo()
        client.docmd("MAIL", "FROM:<x@a.example>")
        return client.docmd("RCPT", "TO:<y@dest.example>")[0] == 250


async def test_a_selector_is_rotated_within_a_fraction_of_a_second(site, key_directory):
    files = KeyFiles(key_directory)
    files.write("a.example/s1", FIRST)
    files.write("a.example/s2", SECOND)
    await site.node(SIGNING, rows=DKIM_ROWS)
    await site.deliver()
    keys = {"s1@a.example": FIRST, "s2@a.example": SECOND}
    seconds = []
    for i in range(RUNS):
        selector = ("s2", "s1")[i % 2]

        async def is_seen(wanted: str = f"{selector}@a.example") -> bool:
            return signers(await site.deliver(), keys) == [wanted]

        rotate = f"update policy.dkim_domain set selector = '{selector}'"
        seconds.append(await timed(site.db.execute(rotate), is_seen))
        await asyncio.sleep(0.15)
    told("DKIM selector", seconds, most=1)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("queue's pool", "update policy.queue set egress_pool = '{pool}' where domain = 'default'"),
        ("pool's entry", "update policy.egress_pool_entry set source = '{source}' where pool = 'shared'"),
    ],
    ids=["queue", "pool"],
)
async def test_after_quiet_live_queues_follow_within_a_second_or_two(site, what, change):
    await site.node()
    await site.deliver()
    seconds = []
    for i in range(RUNS // 2):
        await asyncio.sleep(6)  # longer than epoch_interval
        pool, source, address = (("gold", "ip-2", GOLD), ("shared", "ip-1", SHARED))[i % 2]

        async def is_seen(wanted: str = address) -> bool:
            delivery: Delivery = await site.deliver()
            return delivery.peer == wanted

        seconds.append(await timed(site.db.execute(change.format(pool=pool, source=source)), is_seen))
    told(what, seconds, most=3)
