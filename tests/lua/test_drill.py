"""A drill, from the command to the nodes and back: what they do in it, and what is said of them."""

import asyncio
import os
import re
import signal
import sys

from click.testing import CliRunner, Result

from policyd.cli.main import policyd, status_of
from policyd.errors import PolicydError
from tests.lua.sites import ASK, ROWS, Site, ask

SITE = ASK + "require('policyd.sources'):setup() require('policyd.queue'):setup()"


def drill(dsn: str, *arguments: str) -> "asyncio.Task[Result]":
    given = ["drill", "--yes", *arguments, "--set", f"database.dsn={dsn}"]
    return asyncio.create_task(asyncio.to_thread(lambda: CliRunner().invoke(policyd, given)))


def status(result: Result) -> int:
    return status_of(result.exception) if isinstance(result.exception, PolicydError) else result.exit_code


async def has_begun(site: Site) -> None:
    """Return once a drill is on and the service keeps to it."""
    async with asyncio.timeout(20):
        while not await site.db.fetchval(
            "select exists (select from policy.drill where until > clock_timestamp())"
        ):
            pass


async def reported(site: Site, what: str) -> int:
    counts = await site.db.fetchval("select coalesce(sum((counts ->> $1)::bigint), 0) from policy.node", what)
    return int(counts)


async def test_a_node_that_knows_everything_passes(site, dsn):
    node = await site.node(SITE, rows=ROWS, node="'mx-1'")
    await ask(node, "tenant", "acme")
    await node.settle()
    await node.advance(2)
    conducted = drill(dsn, "--outage", "3s", "--node", "mx-1")
    await has_begun(site)
    await node.until(lambda: site.db.fetchval("select not in_touch from policy.node"), within=60)
    await node.advance(301)  # what is in memory has expired, and the store answers
    found = await ask(node, "tenant", "acme")
    assert (found["answer"]["egress_pool"], found.get("stale")) == ("gold", True)
    while not conducted.done():
        await node.advance(0.25)
        await asyncio.sleep(0.05)
    result = await conducted
    assert status(result) == 0, result.output
    last = result.output.splitlines()
    assert re.fullmatch(
        r"mx-1: answered everything, back after \d+ s \([1-9]\d* stale, 0 unknown\)", last[-2]
    )
    assert last[-1] == "passed: everything was answered from what the nodes know"
    assert "stale" not in await ask(node, "tenant", "acme")
    assert await site.db.fetchval("select count(*) from policy.drill") == 0


async def test_a_node_that_is_asked_what_it_never_learned_does_not_pass(site, dsn):
    node = await site.node(SITE, rows=ROWS, node="'mx-1'")
    await node.advance(2)
    conducted = drill(dsn, "--outage", "3s", "--kind", "tenant")
    await has_begun(site)
    while (await ask(node, "tenant", "acme"))["status"] != "unknown":
        await node.advance(1)
    assert (await ask(node, "queue", "a.example"))["status"] == "found"
    while not conducted.done():
        await node.advance(0.25)
        await asyncio.sleep(0.05)
    result = await conducted
    assert status(result) == 7, result.output
    assert re.search(
        r"^mx-1: could not answer .*: that mail was held, or put off with 4xx", result.output, re.MULTILINE
    )
    assert result.output.splitlines()[-1] == "not passed"


async def test_a_node_says_in_a_drill_how_it_goes_and_is_otherwise_as_in_an_outage(site):
    node = await site.node(SITE, rows=ROWS, node="'mx-1'")
    await ask(node, "tenant", "acme")
    await node.settle()
    await site.db.execute(
        "insert into policy.drill (nodes, until) values ('{mx-1}', clock_timestamp() + interval '1 min')"
    )
    await node.until(lambda: site.db.fetchval("select not in_touch from policy.node"))
    before = await reported(site, "drilled")
    await node.advance(10)
    assert await reported(site, "drilled") > before
    await node.advance(300)
    assert (await ask(node, "tenant", "acme")).get("stale") is True
    assert (await ask(node, "tenant", "never"))["status"] == "none"
    await site.change("delete from policy.drill", node)
    await node.until(lambda: site.db.fetchval("select in_touch from policy.node"))


async def test_a_campaign_that_an_old_row_does_not_know_is_not_taken_for_one_that_is_not_there(site):
    """The tenant's row says which campaigns there are: while only an old one can be had, what follows from it is old too."""
    node = await site.node(SITE, rows=ROWS)
    assert (
        "overall_max_message_rate" not in (await ask(node, "queue", "a.example", "acme", "spring"))["answer"]
    )
    await node.settle()
    await site.db.execute(
        "insert into policy.drill (kinds, until) values ('{tenant}', clock_timestamp() + interval '1 min')"
    )
    await site.change(
        "insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('acme', 'spring', '5/s')",
        node,
    )
    assert (await ask(node, "queue", "a.example", "acme", "spring")).get("stale") is True
    await site.change("delete from policy.drill", node)

    async def is_right():
        found = await ask(node, "queue", "a.example", "acme", "spring")
        return found["answer"].get("overall_max_message_rate") == {"campaign": "5/s"} and not found.get(
            "stale"
        )

    await node.until(is_right)


async def conducted_elsewhere(dsn: str, *arguments: str) -> asyncio.subprocess.Process:
    """A drill in a process of its own, once it is on."""
    command = [sys.executable, "-m", "policyd", "drill", "--yes", *arguments]
    environ = os.environ | {"POLICYD_DATABASE_DSN": dsn}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    assert first.startswith("drill "), first + (await process.communicate())[1].decode()
    return process


async def test_ctrl_c_ends_a_drill_at_once_and_a_kill_at_its_time(site, dsn):
    node = await site.node(SITE, rows=ROWS)
    await node.advance(2)
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 130)):
        process = await conducted_elsewhere(dsn, "--outage", "1h")
        assert await site.db.fetchval("select count(*) from policy.drill") == 1
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, err) == (expected, b"")
        assert out.decode().endswith("ended early: no verdict\n")
        assert await site.db.fetchval("select count(*) from policy.drill") == 0
    process = await conducted_elsewhere(dsn, "--outage", "30s")
    process.kill()
    await process.communicate()
    assert await site.db.fetchval("select until < now() + interval '31 s' from policy.drill")
    ended = CliRunner().invoke  # what somebody else types who does not want to wait for that
    result = await asyncio.to_thread(ended, policyd, ["drill", "--end", "--set", f"database.dsn={dsn}"])
    assert re.fullmatch(r"ended drill \d+\n", result.output)


async def test_a_drill_that_would_show_nothing_is_not_begun(site, dsn):
    assert "no node has reported within ten minutes" in str((await drill(dsn, "--outage", "5s")).exception)
    await site.db.execute("insert into policy.node (node_id) values ('mx-1'), ('mx-2')")
    result = await drill(dsn, "--outage", "5s", "--node", "mx-1,mx-9")
    assert str(result.exception) == "no node is called mx-9: known are mx-1, mx-2"
    for wrong in (("--outage", "2h"), ("--outage", "0s"), (), ("--outage", "5s", "--kind", "mail")):
        assert status(await drill(dsn, *wrong)) == 2
    given = ["drill", "--outage", "5s", "--set", f"database.dsn={dsn}"]
    result = await asyncio.to_thread(CliRunner().invoke, policyd, given)
    assert (result.exit_code, "nobody is there to ask: say --yes" in result.output) == (2, True)
    assert await site.db.fetchval("select count(*) from policy.drill") == 0
