"""Rows about Lua alone: a warm lookup, the memory of a key, and what it costs to load the modules."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from lupa.lua54 import LuaRuntime

from tests.bench import kumods
from tests.bench.bench import Bench, progress
from tests.bench.machine import resident_bytes
from tests.bench.table import Row
from tests.kumod.process import command
from tests.kumod.site import CLIENT

HERE = Path(__file__).parent
_FEW = 1_000
_ROUNDS = 200
_SETUP = "require('policyd'):setup { endpoints = { 'http://127.0.0.1:1' }, store = '/nowhere/store.db', cache_capacity = 4000000 }"
# What a policy does at file scope: each context does it, and kumod makes one for each refresh of a queue.
_LOADS = {
    "policyd": f"""
        {_SETUP}
        require('policyd.listener_domains'):setup()
        require('policyd.sources'):setup()
        require('policyd.shaping'):setup()
        require('policyd.dkim_sign'):setup()
        require('policyd.log_hooks'):setup()
        require('policyd.smtp_auth'):setup()
        require('policyd.queue'):setup()
    """,
    "stock": """
        for _, name in ipairs { 'listener_domains', 'sources', 'queue', 'shaping', 'dkim_sign', 'log_hooks' } do
          require('policy-extras.' .. name)
        end
    """,
}
# And what get_queue_config needs besides, for an answer that is in L1.
_LOADS["refresh"] = _LOADS["policyd"] + "require 'policyd.queue_config'"
_POLICY = """
package.path = '{client}/?.lua;{client}/?/init.lua;{share}/?.lua;' .. package.path
local kumo = require 'kumo'
local function resident()
  return tonumber(io.open('/proc/self/statm'):read('a'):match '%d+ (%d+)') * {page}
end
local loads = {{ {loads} }}
kumo.on('main', function(what, ...)
  if what == 'warm' then
    {setup}
    local sizes = {{}}
    for i, size in ipairs {{ ... }} do
      sizes[i] = math.tointeger(tonumber(size))
    end
    loadfile '{here}/warm.lua' (os.clock, resident)(sizes)
  else
    local seconds = dofile '{here}/loading.lua' ({rounds}, os.clock, loads[...])
    print(string.format('{{"seconds":%.9f}}', seconds))
  end
end)
"""


async def warm(bench: Bench) -> list[Row]:
    """A lookup that L1 answers, with a thousand keys and with as many as the large database has rows."""
    many = max(bench.sizes.rows, _FEW)
    sizes = [_FEW, many] if many > _FEW else [_FEW]
    lines = await _script("warm", *map(str, sizes)) if kumods.is_there() else _in_lupa(sizes)
    by = "kumod --script" if kumods.is_there() else "Lua in this process, and the least of kumo around it"
    few, most = lines[0], lines[-1]
    return [
        Row(
            what=f"warm lookup in Lua, {most['keys']:,} keys / {few['keys']:,}",
            goal="≤ 1.3; about 12 µs",
            measured=f"{most['us'] / few['us']:.2f}; {most['us']:.1f} µs",
            notes=f"{by}: {few['us']:.1f} and {most['us']:.1f} µs, rule, JSON and constructor included; / cached text parsed and made {most['us'] / most['bare_us']:.1f} ({most['bare_us']:.1f} µs); filling {most['fill_us']:.0f} µs a key",
            values={"ratio": most["us"] / few["us"], "us": most["us"]},
        ),
        Row(
            what="memory per key of L1",
            goal="",
            measured=f"{most['bytes']:,.0f} bytes",
            notes=f"{by}: two entries, by what is asked and by what exists",
            values={"bytes": most["bytes"]},
        ),
    ]


async def loading(bench: Bench) -> list[Row]:
    """All modules that a policy requires, ours against KumoMTA's own."""
    del bench
    if not kumods.is_there() or not (kumods.SHARE / "policy-extras").is_dir():
        progress("no kumod with its policy-extras; left out")
        return []
    ours, refresh, theirs = [
        (await _script("load", what))[0]["seconds"] for what in ("policyd", "refresh", "stock")
    ]
    return [
        Row(
            what="loading all policyd modules / all stock helpers",
            goal="≤ 0.25",
            measured=f"{ours / theirs:.2f}",
            notes=f"{ours * 1e6:,.0f} and {theirs * 1e6:,.0f} µs; with all that a queue's refresh needs {refresh * 1e6:,.0f}",
            values={"ratio": ours / theirs, "ours": ours, "refresh": refresh, "theirs": theirs},
        )
    ]


async def _script(*arguments: str) -> list[dict[str, Any]]:
    """The lines of JSON that a kumod prints."""
    with tempfile.TemporaryDirectory(prefix="policyd-bench-") as directory:
        policy = Path(directory) / "script.lua"
        loads = " ".join(f"{name} = function() {text} end," for name, text in _LOADS.items())
        names = {"client": CLIENT, "share": kumods.SHARE, "here": HERE, "rounds": _ROUNDS, "setup": _SETUP}
        page = os.sysconf("SC_PAGE_SIZE")
        policy.write_text(_POLICY.format_map({**names, "page": page, "loads": loads}))
        process = await asyncio.create_subprocess_exec(
            *command("--policy", policy, "--script", "--", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, problems = await process.communicate()
        if process.returncode:
            raise RuntimeError(problems.decode(errors="replace")[-2000:])
        return [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]


def _in_lupa(sizes: list[int]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    lua = LuaRuntime()
    lua.globals().print = lambda line: lines.append(json.loads(line))
    lua.execute(f"package.path = '{CLIENT}/?.lua;{CLIENT}/?/init.lua;' .. package.path")
    lua.execute((HERE / "bare_kumo.lua").read_text())
    lua.execute(_SETUP)
    made = lua.execute(f"return loadfile('{HERE}/warm.lua')")
    made(lua.eval("os.clock"), resident_bytes)(lua.table_from(sizes))
    return lines
