"""How the processes of the chaos speak: a line of JSON each."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any


def say(**what: Any) -> None:
    """Tell whoever started this process, at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def listen(do: Callable[[dict[str, Any]], None]) -> None:
    """Do what standard input says, line by line, until it ends: whoever started this process is gone then."""
    reader = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        do(json.loads(line))
