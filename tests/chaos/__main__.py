"""`python -m tests.chaos --seed 7 --minutes 2`: everything that can happen, at once, to the real thing."""

import argparse
import asyncio
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chaos.chaos import Chaos
from tests.chaos.world import world
from tests.conftest import in_memory

RATES = (15.0, 12.0)
"""Edits a second, and questions of each node."""


def main() -> int:
    """Run it; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the faults, edits and questions; the times are nobody's")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument(
        "--keep", action="store_true", help="keep stores, logs and the story though all went well"
    )
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    directory = Path(tempfile.mkdtemp(prefix="policyd-chaos-", dir=in_memory()))
    directory.chmod(0o711)
    print(f"seed {seed}, everything is in {directory}", flush=True)
    began = time.monotonic()
    chaos = Chaos(seed, tell=lambda line: print(line, flush=True))
    status = 0
    try:
        asyncio.run(_run(chaos, directory, given))
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
    except BaseExceptionGroup as group:
        chaos.tally.is_wrong("the chaos itself failed: " + "".join(traceback.format_exception(group)))
    print("" if status == 0 else "broken off; until then:")
    print(chaos.tally.report(time.monotonic() - began, chaos.judge.oldest))
    print(f"processor time: {_processor_time():.0f} s")
    if chaos.tally.wrong:
        status = 1
        chaos.tally.write(directory / "story.jsonl")
        print(
            f"the story is {directory}/story.jsonl; again: make chaos SEED={seed} MINUTES={given.minutes:g}"
        )
    elif not given.keep:
        shutil.rmtree(directory)
    return status


async def _run(chaos: Chaos, directory: Path, given: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    settings = {"seed": chaos.tally.seed, "services": given.services, "nodes": given.nodes, "rates": RATES}
    async with world(directory, chaos.hear, **settings) as all_:
        await chaos.run(all_, given.minutes * 60)


def _processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    sys.exit(main())
