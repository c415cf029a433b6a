"""KumoMTA's queue files as sections, merged as `policy-extras/queue.lua` merges them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from policyd.transfer.files import QUEUE_SETTINGS, HelperFile, Table, nearest
from policyd.transfer.findings import Field, Json, Note, Origin, Problem
from policyd.transfer.values import merged

Level: TypeAlias = Literal["settings", "tenant", "tenant_campaign", "queue", "queue_tenant", "queue_campaign"]
Place: TypeAlias = tuple[Level, tuple[str, ...]]

# Options of make_queue_config whose value may be a table; any other key with a table is a tenant or a campaign.
TABLE_OPTIONS = ("protocol", "shrink_policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the files, wherever its parts came from."""

    origin: Origin
    fields: Mapping[str, Field] = field(default_factory=dict)


Sections: TypeAlias = dict[Place, Section]


def merge_sections(files: Sequence[HelperFile], sections: Sections) -> Iterator[Problem | Note]:
    """Fills *sections* from the files, a later file over an earlier one; yields what is to be said about it."""
    for file in files:
        for place, key, table in _sections(file):
            if isinstance(table, Problem | Note):
                yield table
                continue
            known = sections.get(place, Section(origin=file.origin(*key)))
            fields = dict(known.fields)
            for name, value in table.items():
                origin = file.origin(*key, name)
                earlier = fields.get(name)
                together = value if earlier is None else merged(earlier.value, value)
                if earlier is not None and together != value:
                    sentence = f"is merged with {earlier.origin} item by item, as KumoMTA does, into {json.dumps(together)}"
                    yield Note(topic="surprise", origin=origin, sentence=sentence)
                fields[name] = Field(value=together, origin=origin)
            sections[place] = Section(origin=known.origin, fields=fields)


_Found: TypeAlias = tuple[Place, tuple[str, ...], Table | Problem | Note]
_SETTINGS: Place = ("settings", ())


def _sections(file: HelperFile) -> Iterator[_Found]:
    settings = {name: value for name, value in file.data.items() if name not in {"tenant", "queue"}}
    for name in settings.keys() - set(QUEUE_SETTINGS):
        hint = nearest(name, (*QUEUE_SETTINGS, "tenant", "queue"))
        sentence = f"unknown setting '{name}' in a file of queues{hint}"
        yield _SETTINGS, (), Problem(origin=file.origin(name), sentence=sentence)
    yield _SETTINGS, (), {name: value for name, value in settings.items() if name in QUEUE_SETTINGS}
    for name, table in _table(file, ("tenant",), file.data.get("tenant", {})):
        yield from _tenant(file, name, table)
    for name, table in _table(file, ("queue",), file.data.get("queue", {})):
        if isinstance(table, Problem):
            yield _SETTINGS, (), table
        else:
            yield from _nested(
                file, ("queue", "queue_tenant", "queue_campaign"), ("queue", name), (name,), table
            )


def _table(file: HelperFile, key: tuple[str, ...], whole: Json) -> Iterator[tuple[str, Table | Problem]]:
    """The tables inside a table, by name; in place of what is no table, a problem."""
    if not isinstance(whole, dict):
        yield "", Problem(origin=file.origin(*key), sentence="must be a table of tables")
        return
    for name, table in whole.items():
        place = file.origin(*key, name)
        yield (
            name,
            table
            if isinstance(table, dict)
            else Problem(origin=place, sentence="must be a table of options"),
        )


def _tenant(file: HelperFile, name: str, table: Table | Problem) -> Iterator[_Found]:
    if isinstance(table, Problem):
        yield _SETTINGS, (), table
        return
    key = ("tenant", name)
    yield (
        ("tenant", (name,)),
        key,
        {option: value for option, value in table.items() if option != "campaigns"},
    )
    for campaign, options in _table(file, (*key, "campaigns"), table.get("campaigns", {})):
        yield ("tenant_campaign", (name, campaign)), (*key, "campaigns", campaign), options


def _nested(
    file: HelperFile, levels: tuple[Level, ...], key: tuple[str, ...], names: tuple[str, ...], table: Table
) -> Iterator[_Found]:
    """A queue's section, then those of the tenants inside it, then those of their campaigns."""
    place: Place = (levels[0], names)
    inner_name = {"queue": "tenants", "queue_tenant": "campaigns"}.get(levels[0], "")
    inner: list[tuple[tuple[str, ...], str, Table]] = []
    options: dict[str, Json] = {}
    for name, value in table.items():
        if not isinstance(value, dict) or name in TABLE_OPTIONS or not inner_name:
            options[name] = value
        elif name == inner_name and (tables := _tables_only(value)) is not None:
            # The helper's inner spelling, which it takes in files too: [queue.D.tenants.T.campaigns.C].
            inner += [((*key, name, each), each, each_table) for each, each_table in tables.items()]
        else:
            inner.append(((*key, name), name, value))
            if hint := nearest(name, TABLE_OPTIONS, at_least=0.8):
                sentence = f"'{name}' is no option, so KumoMTA takes it for a {inner_name[:-1]}{hint}"
                yield place, key, Note(topic="surprise", origin=file.origin(*key, name), sentence=sentence)
    yield place, key, options
    for inner_key, name, section in inner:
        yield from _nested(file, levels[1:], inner_key, (*names, name), section)


def _tables_only(value: Table) -> Mapping[str, Table] | None:
    tables = {name: each for name, each in value.items() if isinstance(each, dict)}
    return tables if len(tables) == len(value) else None
