"""Taking revisions back: what policy.revert does, with what became of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from policyd.errors import Conflict, PolicydError, StatementRefused
from policyd.operate.history import Told, read_one
from policyd.operate.node_progress import find_revision
from policyd.store import revisions as store
from policyd.store.pool import Connection, translated

_IN_THE_WAY: Final = "55000"
_GUARD: Final = "mass_changes_need_a_reason"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Revisions in a row, the first and the last of them."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"


async def find_stretch(connection: Connection, first: str, last: str | None) -> Stretch:
    """The revisions from *first* to *last*, each written as find_revision has it; PolicydError if there are none such."""
    begins = (await find_revision(connection, first)).number
    ends = begins if last is None else (await find_revision(connection, last)).number
    if ends < begins:
        raise PolicydError(f"revision {begins} is later than {ends}", hint=f"write {ends}..{begins}")
    return Stretch(begins, ends)


async def revert(
    connection: Connection,
    stretch: Stretch,
    *,
    reason: str | None,
    force: bool,
    dry_run: bool,
    most_rows: int,
) -> Told | None:
    """
    Take *stretch* back in one new revision, and what that changed; None where nothing was to change.

    Where something stands in the way, StatementRefused lists it. A *dry_run* does everything, and undoes it.
    """
    transaction = connection.transaction()
    with translated():
        await transaction.start()
    try:
        with _told_to_a_person(stretch):
            taken = await store.revert(connection, stretch.first, stretch.last, reason=reason, force=force)
        told = None if taken is None else await read_one(connection, taken, most_rows=most_rows)
    except BaseException:
        with translated():
            await transaction.rollback()
        raise
    with translated():
        await (transaction.rollback() if dry_run else transaction.commit())
    return told


@contextmanager
def _told_to_a_person(stretch: Stretch) -> Iterator[None]:
    """What SQL calls an argument is an option of the command."""
    try:
        yield
    except StatementRefused as error:
        if error.sqlstate == _IN_THE_WAY and error.hint:
            error.hint = error.hint.replace("force => true", "--force")
        raise
    except Conflict as error:
        if error.constraint == _GUARD:
            error.hint = f"if that is meant, say why: policyd revert {stretch} --reason TEXT"
        raise
