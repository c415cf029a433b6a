"""kumod's own constructors as judges of every document: a script in a directory of its own, run once."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from policyd.errors import PolicydError
from policyd.keys.making import make_pem
from policyd.operate.kumod_documents import Judged
from policyd.store.checks import Told

_SECONDS, _SECONDS_EACH = 30.0, 0.001
_LONGEST = 300


class KumodUnusable(PolicydError):
    """The kumod that was to judge does not run."""


async def judge(kumod: Path, judged: Sequence[Judged]) -> list[Told]:
    """What this kumod refuses, each with its reason. Nothing is written but in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="policyd-kumod-") as name:
        directory = Path(name)
        _prepare(directory, judged)
        said = await _run(kumod, directory, _SECONDS + _SECONDS_EACH * len(judged))
        results = _results(directory)
    if not results or results[-1].get("judged") != len(judged):
        return [*_told(judged, results), _died(judged, said, results)]
    return _told(judged, results)


def _prepare(directory: Path, judged: Sequence[Judged]) -> None:
    script = files("policyd.operate").joinpath("judge.lua").read_text()
    (directory / "judge.lua").write_text(script)
    # Only whether there can be a signer is of interest, and it wants a key.
    key = directory / "key.pem"
    key.write_bytes(make_pem("ed25519"))
    with (directory / "input").open("w") as file:
        for number, each in enumerate(judged):
            params = dict(each.params)
            if each.kind == "signer":
                params["key"] = str(key)
            elif each.kind == "shaping":
                path = directory / f"{number}.json"
                path.write_text(json.dumps(params))
                params = {"path": str(path)}
            file.write(json.dumps({"kind": each.kind, "params": params}) + "\n")


async def _run(kumod: Path, directory: Path, seconds: float) -> str:
    """What it says on standard error; KumodUnusable if it cannot be started, or takes too long."""
    user = ["--user", "root"] if os.geteuid() == 0 else []
    arguments = ["--policy", str(directory / "judge.lua"), "--script", *user, "--"]
    paths = [str(directory / each) for each in ("input", "output", "at")]
    environ = {**os.environ, "KUMO_NODE_ID_PATH": str(directory / "nodeid"), "NO_COLOR": "1"}
    try:
        process = await asyncio.create_subprocess_exec(
            str(kumod),
            *arguments,
            *paths,
            env=environ,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise KumodUnusable(
            f"{kumod} cannot be run: {error.strerror}",
            hint="--kumod /opt/kumomta/sbin/kumod is where packages put it",
        ) from None
    try:
        async with asyncio.timeout(seconds):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise KumodUnusable(f"{kumod} did not end within {seconds:.0f} s") from None
    if not (directory / "at").exists():
        raise KumodUnusable(f"{kumod} does not run the script: {_reason(said.decode(errors='replace'))}")
    return said.decode(errors="replace")


def _results(directory: Path) -> list[dict[str, Any]]:
    """The lines that were written whole."""
    lines = (directory / "output").read_text().split("\n")[:-1]
    at = (directory / "at").read_text()
    results = [json.loads(line) for line in lines]
    return results if results and "judged" in results[-1] else [*results, {"died_at": int(at or 0)}]


def _told(judged: Sequence[Judged], results: Sequence[dict[str, Any]]) -> list[Told]:
    told = []
    for result in results:
        if "problem" in result:
            each = judged[result["line"] - 1]
            part = f"{each.part}: " if each.part else ""
            told.append(Told(tag=each.tag, says=f"{part}{_reason(result['problem'])}"))
    return list(dict.fromkeys(told))


def _died(judged: Sequence[Judged], said: str, results: Sequence[dict[str, Any]]) -> Told:
    at = next((result["died_at"] for result in results if "died_at" in result), 0)
    if not 1 <= at <= len(judged):
        raise KumodUnusable(f"kumod ended before it had judged anything: {_reason(said)}")
    each = judged[at - 1]
    return Told(
        tag=each.tag,
        says=f"{each.part + ': ' if each.part else ''}kumod dies of it; what comes after was not judged",
    )


def _reason(problem: str) -> str:
    """The first line of an error, without the input that kumod quotes after it."""
    lines = [line for line in problem.splitlines() if "recommended" not in line and line.strip()]
    line = re.sub(r"\x1b\[[0-9;]*m", "", lines[0]) if lines else "it says nothing"
    return re.sub(r", while processing.*", "", line)[:_LONGEST]
