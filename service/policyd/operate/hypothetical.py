"""What was answered at a revision, and what would be answered if: the resolvers of every day over other documents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from policyd.errors import DatabaseUnavailable, PolicydError
from policyd.operate.differences import FieldChange, is_same
from policyd.operate.history import Told, read_one
from policyd.policy.asking import Layer, Resolver, overlay
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.position import Position
from policyd.policy.resolving import Documents, Resolved, resolve_with
from policyd.policy.tags import kind_of
from policyd.store import past
from policyd.store.changes import read_revision
from policyd.store.documents import read_documents
from policyd.store.people import minds_its_transaction, uncommented
from policyd.store.pool import Connection
from policyd.store.revisions import Floor, Revision, floors_since, read_told_revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A lookup, and how it is answered."""

    kind: Kind
    lookup: Lookup

    def start(self, now: float) -> Callable[[], Resolver]:
        """What makes the resolver of the lookup, as of a time in seconds since 1970."""
        return partial(self.kind.resolve, self.lookup, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAnswer:
    """An answer as it was, the revision that it is of, and what the log cannot know about it."""

    revision: Revision
    resolved: Resolved
    floors: tuple[Floor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What statements would do: to rows, and to answers, by path."""

    told: Told | None
    """None where no row would change."""
    answers: Mapping[str, tuple[FieldChange, ...]]
    """For each path the fields that would differ; for one that brings others, theirs too, after their path."""


async def answer_at(
    connection: Connection, position: Position, asked: Asked, *, timeout: float
) -> PastAnswer:
    """What a lookup was answered when the revision at *position* had just been taken."""
    async with past.one_snapshot(connection, timeout=timeout):
        revision = await read_told_revision(connection, position.number)

        async def fetch(tags: Iterable[str]) -> tuple[Position, Documents]:
            return await past.read_documents_at(connection, position, tags)

        resolved = await resolve_with(asked.start(revision.at.timestamp()), fetch)
        kinds = {kind_of(tag) for tag in resolved.tags}
        floors = await floors_since(connection, position.number, kinds)
    return PastAnswer(revision=revision, resolved=resolved, floors=tuple(floors))


async def what_if(
    connection: Connection,
    statements: Sequence[str],
    questions: Sequence[Asked],
    *,
    now: datetime,
    timeout: float,
    most_rows: int,
) -> Outcome:
    """What *statements* would change, tried out and undone: nobody ever sees it but who asks."""
    for statement in statements:
        if minds_its_transaction(statement):
            raise PolicydError(
                f"a statement that begins or ends a transaction cannot be tried out: {uncommented(statement).split()[0]}",
                hint="leave begin, commit and rollback out: everything is one transaction, and is undone",
            )
    async with past.nothing_kept(connection, timeout=timeout):
        head = await read_revision(connection, None)
        before = [await _answers(connection, each, now) for each in questions]
        try:
            await past.try_out(connection, statements)
        except DatabaseUnavailable as error:
            error.hint = error.hint or f"it may take {timeout:g} s, unless --timeout says otherwise"
            raise
        after = [await _answers(connection, each, now) for each in questions]
        taken = await read_revision(connection, None)
        told = None
        if taken is not None and taken != head:
            told = await read_one(connection, taken.number, most_rows=most_rows)
    return Outcome(
        told=told,
        answers={
            asked.lookup.path: _differences(old, new)
            for asked, old, new in zip(questions, before, after, strict=True)
        },
    )


async def _answers(connection: Connection, asked: Asked, now: datetime) -> dict[str, Any]:
    """Whether there is an answer, and its fields, and those of answers that come along, by their names."""

    async def fetch(tags: Iterable[str]) -> tuple[Position, Documents]:
        return await read_documents(connection, tags)

    resolution = (await resolve_with(asked.start(now.timestamp()), fetch)).resolution
    fields = _flat("", resolution.layers)
    for part in resolution.brings:
        fields |= _flat(f"{part.path} ", part.layers)
    return fields


def _flat(prefix: str, layers: Sequence[Layer]) -> dict[str, Any]:
    if not layers:
        return {}
    fields: dict[str, Any] = {f"{prefix}found": True}
    for name, value in overlay(layers).items():
        inner = value if isinstance(value, dict) and name == "options" else {"": value}
        for field, each in inner.items():
            fields[f"{prefix}{name}{'.' if field else ''}{field}"] = each
    return fields


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(field=name, old=old.get(name), new=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if not is_same(old.get(name), new.get(name))
    )
