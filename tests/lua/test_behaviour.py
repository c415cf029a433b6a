"""The simulated kumo behaves as a real one was recorded."""

import asyncio
import json
import re
import socket
import sys
from pathlib import Path

import pytest

from tests.lua.kumo_sim import formats, http
from tests.lua.kumo_sim.constructors import CONSTRUCTORS, fields_of
from tests.lua.kumo_sim.process import Process

PARITY = Path(__file__).parent / "parity"
CONTRACT = Path(__file__).parents[1] / "contract"
RECORDED = (PARITY / "behaviour.out").read_text().splitlines()


@pytest.fixture
async def behaviour_server():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(PARITY / "behaviour_server.py"), str(port)
    )
    async with asyncio.timeout(20):
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.01)
    base = f"http://127.0.0.1:{port}"
    http.HOLDING[base] += 1
    yield base
    del http.HOLDING[base]
    server.kill()
    await server.wait()


def kind_of(line: str) -> tuple[str, str]:
    """The case, and the words that say what kind of error it was."""
    name, _, error = line.partition(" ! ")
    words = re.sub(r"\(table expected, got \w+\)", "(table expected)", error)
    return name, re.sub(r", expected one of .*|, while processing .*|: only numbers.*|: on$", "", words)


async def test_every_recorded_case_comes_out_the_same(tmp_path, behaviour_server):
    process = Process(PARITY / "behaviour.lua", package_path="")
    try:
        await process.run(process.call("main", str(tmp_path), behaviour_server))
    finally:
        await process.close()
    assert not process.problems
    shown = [line for line in process.printed if line.startswith("CASE")]
    different = [
        (ours, theirs)
        for ours, theirs in zip(shown, RECORDED, strict=True)
        if (kind_of(ours) != kind_of(theirs) if " ! " in theirs else ours != theirs)
    ]
    assert not different


def lua_value(value):
    """A value of constructors.jsonl as the simulation holds it."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [lua_value(item) for item in value] or {}
    if isinstance(value, dict):
        return {key.encode(): lua_value(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "line", (CONTRACT / "constructors.jsonl").read_text().splitlines(), ids=lambda line: line[16:60]
)
def test_a_constructor_takes_exactly_what_kumods_own_takes(line):
    case = json.loads(line)
    fields = fields_of(CONSTRUCTORS[case["constructor"]])
    assert (case["option"] not in fields) == case["unknown"]
    if not case["unknown"]:
        spelled = fields[case["option"]].format
        taken = [
            value for value in case["accepted"] if formats.problem(spelled, lua_value(value)) is not None
        ]
        refused = [value for value in case["rejected"] if formats.problem(spelled, lua_value(value)) is None]
        assert (taken, refused) == ([], [])
