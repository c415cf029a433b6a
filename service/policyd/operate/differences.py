"""Changed rows as an operator thinks of them: documents, and which of their fields became what."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from policyd.store.rows import Json, Record, RowChange
from policyd.store.tables import BY_NAME

Change: TypeAlias = Literal["added", "changed", "removed"]

_CHANGES: Mapping[str, Change] = {"insert": "added", "update": "changed", "delete": "removed"}
_PARTS = {
    "shaping_domain": ("domain", "domain"),
    "shaping_provider": ("provider", "name"),
    "webhook": ("", "name"),
}
"""Tables whose rows are all parts of one document: what a row is called in it, and the column of its name."""
_CHILDREN = {
    "egress_pool_entry": ("entries", "source"),
    "egress_pool_group_entry": ("entries", "source"),
    "tenant_campaign": ("campaigns", "campaign"),
    "dkim_additional_signature": ("additional_signatures", "position"),
    "shaping_domain_source": ("sources", "source"),
    "shaping_domain_automation": ("automation", "position"),
    "shaping_provider_source": ("sources", "source"),
    "shaping_provider_match": ("match", "value"),
    "shaping_provider_automation": ("automation", "position"),
}
"""Tables whose rows are inside of others: the field that they are in, and the column that tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field of a document: what it was and what it is; None where there was or is nothing."""

    field: str
    old: Json
    new: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChange:
    """What became of one document, or of one part of a document that has many: a provider of shaping, a webhook."""

    document: str
    part: str | None
    change: Change
    fields: tuple[FieldChange, ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it: `egress_pool/*/bulk`, `shaping provider google`."""
        return self.document if self.part is None else f"{self.document} {self.part}"

    def as_json(self) -> dict[str, Any]:
        """The change for other programs."""
        part = {} if self.part is None else {"part": self.part}
        fields = [{"field": each.field, "old": each.old, "new": each.new} for each in self.fields]
        return {"document": self.document, **part, "change": self.change, "fields": fields}


@dataclass(slots=True)
class _Draft:
    change: Change = "changed"
    fields: dict[str, FieldChange] = field(default_factory=dict)


def differences(changes: Iterable[RowChange], *, with_removed: bool = False) -> list[DocumentChange]:
    """
    The documents that the rows are of, in the order of their first row; a row that became what it was is none.

    Documents that were removed come *with* what they said only if that is wanted.
    """
    drafts: dict[tuple[str, str | None], _Draft] = {}
    for change in changes:
        draft = drafts.setdefault((change.tag, _part(change.table, change.key)), _Draft())
        if change.table not in _CHILDREN and change.op != "update":
            draft.change = _CHANGES[change.op]
        for each in _fields(change):
            earlier = draft.fields.get(each.field)
            old = each.old if earlier is None else earlier.old
            draft.fields[each.field] = FieldChange(field=each.field, old=old, new=each.new)
    made = [
        DocumentChange(
            document=document, part=part, change=draft.change, fields=_final(draft, with_removed=with_removed)
        )
        for (document, part), draft in drafts.items()
    ]
    return [each for each in made if each.fields or each.change != "changed"]


def _final(draft: _Draft, *, with_removed: bool) -> tuple[FieldChange, ...]:
    if draft.change == "removed" and not with_removed:
        return ()
    return tuple(each for each in draft.fields.values() if not is_same(each.old, each.new))


def besides(rows: Mapping[str, Sequence[Record]]) -> list[DocumentChange]:
    """Rows that are in the database alone, as documents that would go."""
    return [
        DocumentChange(document=str(row["tag"]), part=_part(table, row), change="removed")
        for table, several in rows.items()
        for row in several
    ]


def is_same(old: Json, new: Json) -> bool:
    """Whether two values are one to KumoMTA, to which 5 and 5.0 are two, and true is not 1."""
    return repr(old) == repr(new) if type(old) is type(new) else False


def _part(table: str, key: Record) -> str | None:
    """What the row's part of its document is called, for documents that consist of many."""
    parent = BY_NAME[table].part_of if table in BY_NAME else None
    owner, columns = (table, BY_NAME[table].key if table in BY_NAME else ()) if parent is None else parent
    if owner not in _PARTS:
        return None
    what, column = _PARTS[owner]
    name = key[column if parent is None else columns[0]]
    return f"{what} {name}".strip()


def _fields(change: RowChange) -> Iterator[FieldChange]:
    old, new = _said(change.key, change.old), _said(change.key, change.new)
    if change.table not in _CHILDREN:
        yield from _changed("", old or {}, new or {})
        return
    group, column = _CHILDREN[change.table]
    name = change.key[column]
    if change.table == "shaping_provider_match":
        name = f"{change.key['rule']} {name}"
    if old is None or new is None:
        yield FieldChange(field=f"{group}.{name}", old=_alone(old), new=_alone(new))
    else:
        yield from _changed(f"{group}.{name}.", old, new)


def _alone(row: dict[str, Json] | None) -> Json:
    return None if row is None else {name: value for name, value in row.items() if value is not None}


def _changed(prefix: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if name == "options" and isinstance(before or {}, dict) and isinstance(after or {}, dict):
            yield from _changed(f"{prefix}options.", _table(before), _table(after))
        elif not is_same(before, after):
            yield FieldChange(field=f"{prefix}{name}", old=before, new=after)


def _said(key: Record, row: dict[str, Json] | None) -> dict[str, Json] | None:
    """What the row says beside its key."""
    if row is None:
        return None
    return {name: value for name, value in row.items() if name not in key}


def _table(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
