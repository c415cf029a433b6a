"""The node's store in a real kumod: one owner, looked at before it is used, and there for scripts too."""

import asyncio
import json
import signal

from tests.kumod.process import Kumod, command
from tests.kumod.site import SHARED, until


async def test_a_second_kumod_with_the_same_store_does_without_it(site, tmp_path):
    await site.node()
    await site.deliver()
    elsewhere = tmp_path / "second"
    elsewhere.mkdir()
    policy = elsewhere / "init.lua"
    text = site.kumod.policy.read_text()
    policy.write_text(
        text.replace(f"{site.directory}/", f"{elsewhere}/").replace(
            f"{elsewhere}/policyd", f"{site.directory}/policyd"
        )
    )
    second = Kumod(policy, elsewhere)
    await second.start()
    try:
        await second.says("another live process owns it")
        for _ in range(3):
            assert (await site.inject(port=second.http[0]))["fail_count"] == 0
        await site.sink.receive(4)
    finally:
        await second.stop(signal.SIGKILL)
    await site.change("update policy.queue set options = '{\"max_age\": \"1 day\"}' where domain = 'default'")
    await site.kumod.stop(signal.SIGKILL)
    begins = len(second.lines)
    await second.start()  # the lock ended with its owner
    try:
        await site.caught_up()
        assert not any("owns it" in line for line in second.lines[begins:])
    finally:
        await second.stop(signal.SIGKILL)


async def test_a_damaged_store_is_moved_aside_and_begun_anew(site):
    await site.node()
    await site.deliver()
    await site.kumod.stop(signal.SIGKILL)
    site.store.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        site.store.with_name(site.store.name + suffix).unlink(missing_ok=True)
    await site.kumod.start()
    await site.kumod.says("was moved aside to")
    await site.caught_up()
    assert (await site.deliver()).peer == SHARED
    (aside,) = site.store.parent.glob("*.set-aside-*")
    assert aside.read_bytes().startswith(b"this is no database")


async def test_a_script_answers_from_the_store_beside_a_running_node_and_in_an_outage(site):
    await site.node()
    await site.deliver()
    await until(lambda: "/queue/default" in site.held())
    await site.endpoint.be("refused")
    script = site.directory / "ask.lua"
    script.write_text(
        f"dofile '{site.kumod.policy}'\n"
        "local kumo = require 'kumo'\n"
        "kumo.on('main', function() print(kumo.json_encode(kumo.invoke_get_queue_config 'dest.example')) end)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *command("--script", "--policy", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate()
    assert json.loads(printed.splitlines()[-1])["egress_pool"] == "shared"
