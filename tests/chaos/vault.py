"""The Vault double in a process of its own: `python -m tests.chaos.vault PORT`. Standard input puts keys into it."""

import asyncio
import sys
from typing import Any

from tests.chaos.lines import listen, say
from tests.integration.vault.double import VaultDouble, Version, serving


async def main(port: int) -> None:
    """Serve until standard input ends."""
    double = VaultDouble()

    def do(told: dict[str, Any]) -> None:
        double.sealed = told.get("sealed", double.sealed)
        for name, pem in told.get("keys", {}).items():
            double.secrets.setdefault(f"secret/dkim/{name}", []).append(Version({"key": pem}))

    async with serving(double, port=port):
        say(what="started")
        await listen(do)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
