"""KumoMTA's shaping files as blocks, merged as its loader merges them as far as no MX has to be asked for it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from policyd.transfer.files import HelperFile
from policyd.transfer.findings import Field, Json, Note, Origin, Problem
from policyd.transfer.names import row_domains

DEFAULT = "default"
PROVIDER = "provider"
MERGED_BY_KEY = frozenset(
    ("additional_connection_limits", "additional_message_rate_throttles", "additional_source_selection_rates")
)
SECTION_FLAGS = ("mx_rollup", "replace_base")
PROVIDER_FLAGS = ("replace_base", "provider_connection_limit", "provider_max_message_rate")

# As policy.is_shaping_domain in sql/0021_shaping.sql, of what names.row_domains lets pass.
_SECTION = re.compile(r"[^*\[/]+|\[[0-9a-z.:]{1,60}\](:\d{1,5})?|https?://[!-~]{1,200}")

Fields: TypeAlias = Mapping[str, Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a block is for: a provider, one domain, or the site that a domain's MX makes."""

    kind: Literal["provider", "domain", "site"]
    name: str

    @property
    def is_default(self) -> bool:
        """Whether it is what lies under all domains; a provider may have that name, too."""
        return self.kind != "provider" and self.name == DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table inside a section: what is different from one egress source, a match, a rule."""

    origin: Origin
    fields: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One section of one file, or of several one over the other."""

    origin: Origin
    flags: Fields = field(default_factory=dict)
    options: Fields = field(default_factory=dict)
    sources: Mapping[str, Part] = field(default_factory=dict)
    matches: tuple[Part, ...] = ()
    automation: tuple[Part, ...] = ()

    def says(self, flag: str) -> bool:
        """Whether the flag is set to true."""
        return flag in self.flags and self.flags[flag].value is True


Placed: TypeAlias = tuple[Place, Block]
Found: TypeAlias = Placed | Problem | Note


def read_sections(file: HelperFile) -> Iterator[Found]:
    """The blocks of one file in its order, under the names that rows can have."""
    yield from _domains(file)
    providers = file.data.get(PROVIDER, {})
    for name, table in _tables(file, (PROVIDER,), providers):
        if isinstance(table, Problem):
            yield table
        else:
            yield from _placed(file, Place(kind="provider", name=name), (PROVIDER, name), table)


def merge(blocks: Iterable[Placed], merged: dict[Place, Block]) -> Iterator[Note]:
    """Fills *merged* from the blocks of all files in order; yields where that is not what was probably meant."""
    for place, block in blocks:
        earlier = merged.get(place)
        if earlier is None:
            merged[place] = block
            continue
        merged[place] = _over(place, earlier, block)
        if place.kind != "provider" and place.name != DEFAULT and block.says("replace_base"):
            yield from _half_replaced(earlier, block)
        rate = block.flags.get("provider_max_message_rate")
        if rate is not None:
            sentence = (
                f"KumoMTA takes this from the first file that has the provider, at {earlier.origin}; left out"
            )
            yield Note(topic="ignored", origin=rate.origin, sentence=sentence)


def merged_options(earlier: Fields, later: Fields) -> dict[str, Field]:
    """The later options over the earlier ones; three of them are maps that merge by key."""
    options = dict(earlier)
    for name, item in later.items():
        old = options.get(name)
        if name in MERGED_BY_KEY and old is not None:
            below, above = old.value, item.value
            if isinstance(below, dict) and isinstance(above, dict):
                options[name] = Field(value={**below, **above}, origin=item.origin)
                continue
        options[name] = item
    return options


def _over(place: Place, earlier: Block, later: Block) -> Block:
    flags = dict(earlier.flags)
    if place.kind == "provider" or place.name == DEFAULT:
        # Of these KumoMTA asks only while it merges: said once, it also clears what its own file says.
        flags |= {name: item for name, item in later.flags.items() if name == "replace_base" and item.value}
    limit = later.flags.get("provider_connection_limit")
    if later.says("replace_base"):
        flags.pop("provider_connection_limit", None)
    if limit is not None:
        flags["provider_connection_limit"] = limit
    if later.says("replace_base"):
        return replace(later, origin=earlier.origin, flags=flags)
    sources = dict(earlier.sources)
    for name, source in later.sources.items():
        old = sources.get(name)
        sources[name] = (
            source if old is None else replace(old, fields=merged_options(old.fields, source.fields))
        )
    return Block(
        origin=earlier.origin,
        flags=flags,
        options=merged_options(earlier.options, later.options),
        sources=sources,
        matches=earlier.matches + later.matches,
        automation=earlier.automation + later.automation,
    )


def _half_replaced(earlier: Block, later: Block) -> Iterator[Note]:
    if not earlier.says("replace_base"):
        sentence = (
            f"replaces what {earlier.origin} says, but neither default nor providers: of several blocks KumoMTA asks"
            " only the first whether it stands instead of them; nor does it replace what KumoMTA's own file says"
        )
        yield Note(topic="surprise", origin=later.flags["replace_base"].origin, sentence=sentence)


def _domains(file: HelperFile) -> Iterator[Found]:
    tables: dict[str, Mapping[str, Json]] = {}
    for name, table in _tables(file, (), {key: value for key, value in file.data.items() if key != PROVIDER}):
        if isinstance(table, Problem):
            yield table
        else:
            tables[name] = table
    names: dict[str, str] = {}
    for kind in ("site", "domain"):  # one of each may have the same name
        written = {
            name: file.origin(name)
            for name, table in tables.items()
            if _kind(name, table) == kind and not _is_no_domain(name)
        }
        for named in row_domains("section of shaping", written):
            if isinstance(named, tuple):
                names[named[0]] = named[1]
            else:
                yield named
    for name, table in tables.items():
        row = name.lower() if _is_no_domain(name) else names.get(name)
        if row is None:
            continue
        if not _SECTION.fullmatch(row) or (row in (DEFAULT, PROVIDER) and row != name):
            sentence = f"'{name}' cannot be a section of shaping: KumoMTA compares whole names, as written, without wildcards"
            yield Problem(origin=file.origin(name), sentence=sentence)
        else:
            yield from _placed(file, Place(kind=_kind(name, table), name=row), (name,), table)


def _is_no_domain(name: str) -> bool:
    """Whether it is the default, an address literal, or what log hooks send to."""
    return name == DEFAULT or name.startswith(("[", "http://", "https://"))


def _kind(name: str, table: Mapping[str, Json]) -> Literal["domain", "site"]:
    return "site" if name != DEFAULT and table.get("mx_rollup", True) is not False else "domain"


def _tables(
    file: HelperFile, key: tuple[str, ...], whole: Json | Mapping[str, Json]
) -> Iterator[tuple[str, Mapping[str, Json] | Problem]]:
    if not isinstance(whole, Mapping):
        yield "", Problem(origin=file.origin(*key), sentence="must be a table of tables")
        return
    for name, table in whole.items():
        if isinstance(table, dict):
            yield name, table
        else:
            yield name, Problem(origin=file.origin(*key, name), sentence="must be a table")


def _placed(
    file: HelperFile, place: Place, key: tuple[str, ...], table: Mapping[str, Json]
) -> Iterator[Found]:
    flags = PROVIDER_FLAGS if place.kind == "provider" else SECTION_FLAGS
    inside = {"sources", "automation", *flags, *(["match"] if place.kind == "provider" else [])}
    sources: dict[str, Part] = {}
    for name, options in _tables(file, (*key, "sources"), table.get("sources", {})):
        if isinstance(options, Problem):
            yield options
        else:
            where = (*key, "sources", name)
            sources[name] = Part(origin=file.origin(*where), fields=_fields(file, where, options))
    items: dict[str, tuple[Part, ...]] = {}
    for name in ("match", "automation"):
        items[name] = ()
        if name in inside:
            found = list(_items(file, (*key, name), table.get(name, [])))
            yield from (each for each in found if isinstance(each, Problem))
            items[name] = tuple(each for each in found if isinstance(each, Part))
    fields = _fields(file, key, table)
    yield (
        place,
        Block(
            origin=file.origin(*key),
            flags={name: item for name, item in fields.items() if name in flags},
            options={name: item for name, item in fields.items() if name not in inside},
            sources=sources,
            matches=items["match"],
            automation=items["automation"],
        ),
    )


def _items(file: HelperFile, key: tuple[str, ...], whole: Json) -> Iterator[Part | Problem]:
    if not isinstance(whole, list):
        yield Problem(origin=file.origin(*key), sentence="must be a list of tables")
        return
    for number, item in enumerate(whole, start=1):
        where = (*key, str(number))
        if isinstance(item, dict):
            yield Part(origin=file.origin(*where), fields=_fields(file, where, item))
        else:
            yield Problem(origin=file.origin(*where), sentence="must be a table")


def _fields(file: HelperFile, key: tuple[str, ...], table: Mapping[str, Json]) -> dict[str, Field]:
    return {name: Field(value=value, origin=file.origin(*key, name)) for name, value in table.items()}


def out_of_order(blocks: Sequence[Placed]) -> Iterator[Note]:
    """
    A note about domains whose blocks stand around those of others, if these could have the same MX.

    KumoMTA would merge all of them into one, block by block; here each domain's blocks are merged first.
    """
    sites = [(place.name, block) for place, block in blocks if place.kind == "site"]
    apart: dict[str, tuple[str, Origin]] = {}
    for number, (name, block) in enumerate(sites):
        before = [each for each, _ in sites[:number]]
        if name not in before:
            continue
        # What replaces its base replaces all that was said for the MX before.
        first = 0 if block.says("replace_base") else before.index(name)
        for other, between in sites[first:number]:
            if other != name and _collide(between, block):
                apart.setdefault(name, (other, block.origin))
    if apart:
        yield Note(
            topic="surprise",
            origin=next(iter(apart.values()))[1],
            sentence="several files say something of these domains in turns. Should two of them have the same MX, KumoMTA"
            " would merge block by block; policyd keeps each domain's together: say it for one of them alone",
            details=tuple(f"'{name}' and '{other}', at {origin}" for name, (other, origin) in apart.items()),
        )


def _collide(one: Block, other: Block) -> bool:
    return (
        one.says("replace_base")
        or other.says("replace_base")
        or not one.options.keys().isdisjoint(other.options)
        or not one.sources.keys().isdisjoint(other.sources)
    )
