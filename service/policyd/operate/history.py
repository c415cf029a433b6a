"""The history of policy: revisions with the documents that they changed, as far as a person reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from policyd.errors import PolicydError
from policyd.operate.differences import DocumentChange, differences
from policyd.policy.document_names import Written, nearest, read_name
from policyd.store import revisions as store
from policyd.store.documents import KINDS, read_names
from policyd.store.pool import Connection
from policyd.store.revisions import Revision
from policyd.store.rows import RowChange

HASHES: Final = ("sha256", "password_hash")
_CANDIDATES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A revision, and what it changed, as far as that was asked for."""

    revision: Revision
    documents: tuple[DocumentChange, ...]
    floors: tuple[str, ...]
    """Kinds of documents that it said had changed unseen by the log."""
    rows: int
    """Rows that it changed; `MOST_COUNTED` for that many or more."""
    shown: int
    """Rows that *documents* were made from."""
    is_pruned: bool = False

    def as_json(self) -> dict[str, Any]:
        """The revision for other programs."""
        revision = self.revision
        return {
            "revision": revision.position.number,
            "position": str(revision.position),
            "at": revision.at.isoformat(),
            "actor": revision.actor,
            "claimed_actor": revision.claimed_actor,
            "reason": revision.reason,
            "documents": [each.as_json() for each in self.documents],
            "floors": list(self.floors),
            "rows": self.rows,
            "rows_shown": self.shown,
            "pruned": self.is_pruned,
        }


async def read_history(
    connection: Connection,
    *,
    name: str | None,
    since: datetime | None,
    actor: str | None,
    limit: int,
    most_rows: int,
) -> list[Told]:
    """
    Revisions, newest first, each with at most *most_rows* of its rows; of a document and those below it, if *name* says one.

    Raises PolicydError, with what may have been meant, where nothing is known of that name.
    """
    written = None if name is None else read_name(name, KINDS)
    tags = None if written is None else await _tags(connection, written)
    found = await store.read_revisions(connection, since=since, actor=actor, tags=tags, limit=limit)
    if not found and written is not None and since is None and actor is None:
        raise await _nothing_known(connection, written)
    return await _told(connection, found, tags=tags, most_rows=most_rows)


async def read_one(connection: Connection, number: int, *, most_rows: int) -> Told:
    """One revision that is there, with at most *most_rows* of its rows."""
    revision = await store.read_told_revision(connection, number)
    (told,) = await _told(connection, [revision], tags=None, most_rows=most_rows)
    return told


async def _told(
    connection: Connection, revisions: Sequence[Revision], *, tags: Sequence[str] | None, most_rows: int
) -> list[Told]:
    numbers = [each.position.number for each in revisions]
    rows = await store.read_rows_of(connection, numbers, tags=tags, most=most_rows)
    gone = await store.pruned_to(connection)
    told = []
    for each in revisions:
        number = each.position.number
        changes = [change for change in rows.changes if change.revision == number]
        kinds = tuple(floor.kind for floor in rows.floors if floor.revision == number)
        told.append(
            Told(
                revision=each,
                documents=tuple(differences(map(without_hashes, changes), with_removed=True)),
                floors=kinds,
                rows=rows.counts.get(number, 0) - len(kinds),
                shown=len(changes),
                is_pruned=number <= gone,
            )
        )
    return told


def without_hashes(change: RowChange) -> RowChange:
    """The row with words where the log says that a hash became another one: it has neither."""
    if not any(name in (change.old or {}) or name in (change.new or {}) for name in HASHES):
        return change
    return replace(
        change, old=_worded(change.old, "(not shown)"), new=_worded(change.new, "(another, not shown)")
    )


def _worded(row: Mapping[str, Any] | None, word: str) -> dict[str, Any] | None:
    if row is None:
        return None
    return {name: word if name in HASHES else value for name, value in row.items()}


async def _tags(connection: Connection, written: Written) -> tuple[str, ...]:
    return written.tags(await store.groups_of(connection, written.kind) if written.in_groups else ())


async def _nothing_known(connection: Connection, written: Written) -> PolicydError:
    """What to say where the log has nothing of a name: that it is there all the same, or what may have been meant."""
    existing, logged = await _names_near(connection, written)
    name = written.text
    if set(written.tags(())) & set(existing):
        begins = await store.pruned_to(connection)
        since = f"it begins after revision {begins}" if begins else "it is as when the database was made"
        return PolicydError(f"the log has no change of {name}: {since}")
    near = nearest(written, [*existing, *logged])
    return PolicydError(
        f"nothing is known of {name}{f'; did you mean {near}?' if near else ''}",
        hint=f"policyd history {near or written.kind}",
    )


async def _names_near(connection: Connection, written: Written) -> tuple[list[str], list[str]]:
    """Names of documents that there are, and that the log tells of: all, or where there are many those that begin alike."""
    kind = written.kind
    begins = {kind + "/"} | {tag[: len(kind) + 2] for tag in (*written.names, *written.tags(()))}
    existing, logged = [kind], []
    for first in sorted(begins):
        logged += await store.tags_from(connection, first, kind + "0", most=_CANDIDATES)
        existing += (await read_names(connection, kind, after=first, limit=_CANDIDATES))[1]
    return existing, logged
