"""What one database has said at each of its revisions."""

import random
from bisect import bisect_right
from dataclasses import dataclass, field

from policyd.store.pool import Connection
from tests.lua.chaos.states import INITIAL, Change, State, any_change

# As somebody changes rows with triggers off, and then says so: only a floor tells of it.
UNLOGGED = "set local session_replication_role = 'replica'"
LOGGED = "set local session_replication_role = 'origin'"
BULK = "insert into policy.tenant (name) select 'bulk-{0}-' || i from generate_series(1, 5100) i"


@dataclass(slots=True)
class History:
    """A database, and everything that was ever committed in it."""

    name: str
    db: Connection
    numbers: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    stamps: dict[int, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return self.states[-1]

    @property
    def head(self) -> str:
        number = max(self.stamps)
        return f"{number}-{self.stamps[number]}"

    async def begin(self) -> None:
        """Take in what there is, which is INITIAL."""
        await self._note(INITIAL)

    def holds(self, position: str) -> bool:
        number, _, stamp = position.partition("-")
        return self.stamps.get(int(number)) == stamp

    def since(self, number: int) -> list[State]:
        """What was said at that revision, and all that was said after it."""
        return self.states[max(bisect_right(self.numbers, number) - 1, 0) :]

    async def change(self, rng: random.Random) -> str:
        """Commit something; what it was."""
        return await self.commit(any_change(self.state, rng))

    async def commit(self, change: Change) -> str:
        async with self.db.transaction():
            for statement in change.statements:
                await self.db.execute(statement)
        await self._note(change.after)
        return "; ".join(change.statements)

    async def change_unlogged(self, rng: random.Random) -> str:
        """Commit something that the log does not hold, and raise the floors of everything."""
        change = any_change(self.state, rng)
        async with self.db.transaction():
            await self.db.execute(UNLOGGED)
            for statement in change.statements:
                await self.db.execute(statement)
            await self.db.execute(LOGGED)
            await self.db.execute(
                "select policy.invalidate(k, 'rows changed with triggers off') from unnest(policy.kinds()) k"
            )
        await self._note(change.after)
        return "unlogged: " + "; ".join(change.statements)

    async def change_in_bulk(self, rng: random.Random) -> str:
        """Commit more than a window of changes takes, and a change that is lost among them."""
        change = any_change(self.state, rng)
        bulk = BULK.format(rng.randrange(10**9))
        return await self.commit(Change((*change.statements, bulk), change.after))

    async def prune(self) -> str:
        await self.db.execute("select policy.prune($1)", max(self.stamps))
        return "prune the log"

    async def _note(self, state: State) -> None:
        rows = await self.db.fetch(
            "select number, stamp from policy.revision where number > $1", max(self.stamps, default=-1)
        )
        self.stamps |= {row["number"]: row["stamp"] for row in rows}
        self.numbers.append(max(self.stamps))
        self.states.append(state)
