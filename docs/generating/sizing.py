"""The page on sizing: what `make bench` measured on a machine that is described, ratios first."""

import json
from pathlib import Path

from generating.markdown import made, table

_RULES = """
## What to take from it

- **Replicas.** One process uses one core. A node asks only for what it does not hold, so nodes hardly load a replica once they are warm:
  two hosts with a process each are for outages, not for load. After a restart of everything, the first minutes are misses.
- **Memory of a replica.** `cache.bytes` (256 MiB), and about as much again.
- **PostgreSQL.** A statement answers many lookups. Connections: `database.connections` for each process and a handful more. Disk: the rows, and a log
  of every changed row, before and after, until `history.keep` prunes it.
- **Changes.** Whoever changes a hundred thousand rows in one statement holds the writers' turn for the seconds that it takes; lookups do not wait for it.
- **A node.** *Memory per key* above, for each thing that it has asked about lately: it grows with rows that are used, not with what strangers send.
- **Logins.** argon2id costs tens of milliseconds of one core for the first login of each customer after a start; later ones are remembered.
"""


def sizing_page(measured: Path) -> str:
    """The table of the last full run that was kept, with the machine."""
    found = json.loads(measured.read_text(encoding="utf-8"))
    rows = [(row["what"], row["measured"], row["spread"], row["goal"], row["notes"]) for row in found["rows"]]
    return made(
        "Sizing",
        "Measured by `make bench` (in a clone, for your own machine). Ratios are of two things that were done side by side in one run, so they carry over to other"
        " machines better than times do. *Goal* is what the project wants to reach; what misses it is shown all the same.",
        f"The machine: {found['machine']}.",
        table(["what", "measured", "spread", "goal", "details"], rows),
        _RULES,
    )
