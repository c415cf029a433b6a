"""
Somebody who changes policy without end: `python -m tests.chaos.editor DSN SEED RATE`.

Before each commit it says what policy will be, and after it that it is so; whatever happens in between, somebody else has
to find out which of the two is true.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson

from policyd.config import DatabaseConfig
from policyd.errors import DatabaseUnavailable, StatementRefused
from policyd.store.documents import KINDS
from policyd.store.pool import Connection, close, connect, translated
from policyd.units import Seconds
from tests.chaos.history import Documents, difference
from tests.chaos.lines import listen, say
from tests.integration.rows_at_random import AT_ONCE, statement

_EVERYTHING = " union all ".join(f"select tag, body::text from policy.{kind}_document" for kind in KINDS)
_LATEST = "select number || '-' || stamp as position from policy.revision order by number desc limit 500"
_NEWER = """
select number || '-' || stamp as position, xid is not distinct from pg_current_xact_id() as own
  from policy.revision where number > split_part($1, '-', 1)::bigint order by number
"""
_OTHERS = ("dkim", "api_token", "truncate")
"""What belongs to the chaos itself."""


class Editor:
    """One connection, and what policy is as far as this editor knows."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._last = ""
        self._documents: Documents = {}

    async def begin(self, connection: Connection) -> None:
        """Say what there is."""
        with translated():
            async with connection.transaction(isolation="repeatable_read"):
                revisions = [row["position"] for row in await connection.fetch(_LATEST)]
                self._documents = await self._everything(connection)
        self._last = revisions[0]
        say(what="log", revisions=revisions, documents=self._documents, at=time.monotonic())

    async def change(self, connection: Connection) -> None:
        """One transaction, which is perhaps refused, or rolled back."""
        with translated():
            transaction = connection.transaction()
            await transaction.start()
            try:
                for each in self._statements():
                    await self._attempt(connection, each)
                position, documents = await self._say_what_will_be(connection)
            except BaseException:
                if not connection.is_closed():
                    with contextlib.suppress(Exception):
                        await transaction.rollback()
                raise
            if position is None or self._chance.random() < 0.15:
                await transaction.rollback()
                return
            await transaction.commit()
        say(what="committed", position=position, at=time.monotonic())
        self._last, self._documents = position, documents

    def _statements(self) -> list[str]:
        statements = [AT_ONCE]
        while len(statements) < 1 + self._chance.randint(1, 4):
            text = statement(self._chance)
            if not any(word in text for word in _OTHERS) and "note_dkim_key" not in text:
                statements.append(text)
        return statements

    async def _attempt(self, connection: Connection, text: str) -> None:
        try:
            await connection.execute(f"savepoint each; {text}; release each")
        except (
            asyncpg.IntegrityConstraintViolationError,
            asyncpg.PLPGSQLError,
            asyncpg.DataError,
            asyncpg.SyntaxOrAccessError,
        ):
            await connection.execute("rollback to each")

    async def _say_what_will_be(self, connection: Connection) -> tuple[str | None, Documents]:
        """The position that a commit would have, None where nothing has changed, and what there would be."""
        rows = await connection.fetch(_NEWER, self._last)
        others = [row["position"] for row in rows if not row["own"]]
        if others:
            say(what="others", revisions=[self._last, *others], at=time.monotonic())
            self._last = others[-1]
        own = next((row["position"] for row in rows if row["own"]), None)
        if own is None:
            return None, {}
        documents = await self._everything(connection)
        changed = difference(self._documents, documents)
        say(what="begun", position=own, parent=self._last, changed=changed, at=time.monotonic())
        return str(own), documents

    async def _everything(self, connection: Connection) -> Documents:
        return {row["tag"]: orjson.loads(row["body"]) for row in await connection.fetch(_EVERYTHING)}


@contextlib.asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    config = DatabaseConfig(dsn=dsn, statement_timeout=Seconds(3.0), connect_timeout=Seconds(2.0))
    connection = await connect(config, purpose="editor")
    try:
        with translated():
            await connection.execute("select set_config('policy.allow_mass_change', 'chaos', false)")
        yield connection
    finally:
        await close(connection)


async def _edit(dsn: str, seed: int, rate: float, working: asyncio.Event) -> None:
    editor, pauses = Editor(seed), random.Random(seed)
    while True:
        try:
            async with _connected(dsn) as connection:
                await editor.begin(connection)
                while True:
                    if not working.is_set():
                        say(what="resting")
                        await working.wait()
                    await editor.change(connection)
                    await asyncio.sleep(pauses.expovariate(rate))
        except (DatabaseUnavailable, StatementRefused) as error:
            say(what="trouble", error=str(error)[:200])
            await asyncio.sleep(0.2)


async def main(dsn: str, seed: int, rate: float) -> None:
    """Edit until standard input ends; `work` there says whether to."""
    working = asyncio.Event()
    working.set()

    def do(told: dict[str, Any]) -> None:
        (working.set if told["work"] else working.clear)()

    editing = asyncio.ensure_future(_edit(dsn, seed, rate, working))
    listening = asyncio.ensure_future(listen(do))
    await asyncio.wait({editing, listening}, return_when=asyncio.FIRST_COMPLETED)
    if editing.done():
        editing.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
