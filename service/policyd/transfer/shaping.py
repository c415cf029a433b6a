"""KumoMTA's shaping files as rows: one for each domain and provider, with their sources, matches and rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policyd.policy.shaping import SECRETS
from policyd.transfer.files import HelperFile, nearest
from policyd.transfer.findings import Checked, Finding, Json, Note, Origin, Problem, Reference, Row
from policyd.transfer.names import name_problem
from policyd.transfer.packaged_shaping import PROVIDERS, is_packaged_file, is_packaged_rule
from policyd.transfer.secrets import take_secret
from policyd.transfer.shaping_files import (
    MERGED_BY_KEY,
    PROVIDER_FLAGS,
    SECTION_FLAGS,
    Block,
    Fields,
    Place,
    Placed,
    merge,
    out_of_order,
    read_sections,
)
from policyd.transfer.shaping_rules import read_rule
from policyd.transfer.values import boolean_problem

_MATCHES = ("MXSuffix", "DomainSuffix", "HostName")
_ONLY_SHAPING = {
    "provider": (*PROVIDER_FLAGS, "match", "automation", "sources"),
    "domain": (*SECTION_FLAGS, "automation", "sources"),
}
_SELECTION_RATE = "provider_source_selection_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The row that children belong to: the tables' prefix, what it is called there, and its name."""

    prefix: str
    column: str
    name: str


def read_shaping(files: Sequence[HelperFile], *, packaged: bool) -> Iterator[Finding]:
    """
    The rows of shaping, and everything to be said about them.

    With *packaged*, nodes load KumoMTA's own shaping file before this: what it says is not imported again.
    """
    blocks: list[Placed] = []
    for file in files:
        if packaged and is_packaged_file(file.data):
            sentence = "this is KumoMTA's own shaping file, which every node loads anyway; left out"
            yield Note(topic="not imported", origin=file.origin(), sentence=sentence)
            continue
        for found in read_sections(file):
            if isinstance(found, tuple):
                blocks.append(found)
            else:
                yield found
    merged: dict[Place, Block] = {}
    yield from merge(blocks, merged)
    yield from out_of_order(blocks)
    secret_names: set[str] = set()
    positions = {"provider": 0, "domain": 0}
    for place, block in merged.items():
        kind = "provider" if place.kind == "provider" else "domain"
        positions[kind] += not place.is_default
        owner = _owner(place, beside=merged)
        yield from _row(place, owner, block, positions[kind], secret_names)
        yield from _sources(place, owner, block, secret_names)
        yield from _rules(place, owner, block, secret_names, packaged=packaged)
        if owner.name != place.name:
            sentence = (
                f"'{place.name}' has one section for all domains of its MX and one of its own (mx_rollup = false): the"
                f" first becomes '{owner.name}', which is the same domain to KumoMTA"
            )
            yield Note(topic="normalised", origin=block.origin, sentence=sentence)


def _owner(place: Place, beside: Mapping[Place, Block]) -> Owner:
    if place.kind == "provider":
        return Owner(prefix="shaping_provider", column="provider", name=place.name)
    twin = place.kind == "site" and Place(kind="domain", name=place.name) in beside
    return Owner(prefix="shaping_domain", column="domain", name=f"{place.name}." if twin else place.name)


def _row(
    place: Place, owner: Owner, block: Block, position: int, secret_names: set[str]
) -> Iterator[Finding]:
    values: dict[str, Json] = {"position": None if place.is_default else position}
    for name, item in block.flags.items():
        if name in SECTION_FLAGS:
            yield from boolean_problem(item)
        values[name] = item.value
    if place.kind == "provider":
        yield from name_problem(place.name, "a provider", block.origin)
        yield from _provider(place, owner, block)
    elif place.is_default and (rollup := block.flags.get("mx_rollup")) is not None:
        del values["mx_rollup"]
        yield Note(topic="ignored", origin=rollup.origin, sentence="default does not roll up; left out")
    options: dict[str, Json] = {}
    yield from _options(place, block.options, owner.name, options, secret_names)
    yield Checked(
        object="egress_path",
        record=options,
        origin=block.origin,
        origins={name: item.origin for name, item in block.options.items()},
    )
    key = {"name" if place.kind == "provider" else "domain": owner.name}
    yield Row(table=owner.prefix, values={**key, **values, "options": options}, origin=block.origin)


def _provider(place: Place, owner: Owner, block: Block) -> Iterator[Finding]:
    own = {name: item for name, item in block.flags.items() if name != "replace_base"}
    yield Checked(
        object="shaping_provider",
        record={name: item.value for name, item in own.items()},
        origin=block.origin,
        origins={name: item.origin for name, item in own.items()},
    )
    if "provider_max_message_rate" in own and place.name in PROVIDERS:
        sentence = (
            f"KumoMTA's own file has a provider '{place.name}' without this, and KumoMTA takes it from the first file"
            " that has the provider: it has no effect where that file is loaded"
        )
        yield Note(topic="surprise", origin=own["provider_max_message_rate"].origin, sentence=sentence)
    seen: set[tuple[str, str]] = set()
    for item in block.matches:
        rule = next(iter(item.fields), "")
        if len(item.fields) != 1 or rule not in _MATCHES:
            sentence = f"must have one of {', '.join(_MATCHES)}, such as {{ MXSuffix = '.example.com' }}"
            yield Problem(origin=item.origin, sentence=sentence)
            continue
        written = item.fields[rule].value
        if not isinstance(written, str) or not (value := written.lower().removesuffix(".")).strip():
            yield Problem(origin=item.origin, sentence=f"{rule} must be text, such as '.example.com'")
            continue
        if value != written:
            sentence = f"'{written}' becomes '{value}', or KumoMTA would never find it in a name"
            yield Note(topic="normalised", origin=item.origin, sentence=sentence)
        if (rule, value) not in seen:
            seen.add((rule, value))
            values: dict[str, Json] = {"provider": owner.name, "rule": rule, "value": value}
            yield Row(table="shaping_provider_match", values=values, origin=item.origin)


def _sources(place: Place, owner: Owner, block: Block, secret_names: set[str]) -> Iterator[Finding]:
    for name, source in block.sources.items():
        if place.is_default:
            sentence = "KumoMTA never applies what default says of a source; left out"
            yield Note(topic="ignored", origin=source.origin, sentence=sentence)
            continue
        yield from name_problem(name, "an egress source", source.origin)
        yield Reference(table="egress_source", name=name, origin=source.origin, required=False)
        values: dict[str, Json] = {owner.column: owner.name, "source": name}
        fields = dict(source.fields)
        rate = fields.pop(_SELECTION_RATE, None) if place.kind == "provider" else None
        if rate is not None:
            values[_SELECTION_RATE] = rate.value
            yield Checked(
                object="shaping_provider_source",
                record={_SELECTION_RATE: rate.value},
                origin=source.origin,
                origins={_SELECTION_RATE: rate.origin},
            )
        options: dict[str, Json] = {}
        yield from _options(place, fields, f"{owner.name}_{name}", options, secret_names)
        yield Checked(
            object="egress_path",
            record=options,
            origin=source.origin,
            origins={option: item.origin for option, item in fields.items()},
        )
        yield Row(table=f"{owner.prefix}_source", values={**values, "options": options}, origin=source.origin)


def _options(
    place: Place, fields: Fields, owner: str, options: dict[str, Json], secret_names: set[str]
) -> Iterator[Finding]:
    """Fills *options*; what is wrong in a way that the catalogue cannot know is said here, and left out of them."""
    for name, item in fields.items():
        if name in SECRETS:
            yield from take_secret(name, owner, item, options, secret_names)
        elif isinstance(item.value, dict) and name not in MERGED_BY_KEY and name != "connection_limit":
            yield _nested(place, name, item.origin)
        elif hint := nearest(name, _ONLY_SHAPING.get(place.kind, _ONLY_SHAPING["domain"]), at_least=0.85):
            yield Problem(origin=item.origin, sentence=f"'{name}' is no option of a section of shaping{hint}")
        else:
            options[name] = item.value


def _nested(place: Place, name: str, origin: Origin) -> Problem:
    """What a name without quotes makes: `[gmail.com]` is a table `com` in a section `gmail`."""
    whole = f"{place.name}.{name}"
    sentence = (
        f'is a table, which no option is; if the domain {whole} is meant, write it in quotes: ["{whole}"]'
    )
    return Problem(origin=origin, sentence=sentence)


def _rules(
    place: Place, owner: Owner, block: Block, secret_names: set[str], *, packaged: bool
) -> Iterator[Finding]:
    position = 0
    for item in block.automation:
        values: dict[str, Json] = {}
        yield from read_rule(item, owner.name, values, secret_names)
        kind = "provider" if place.kind == "provider" else "domain"
        # A section that replaces its base takes that file's rules away.
        if packaged and not block.says("replace_base") and is_packaged_rule(kind, place.name, values):
            sentence = (
                "KumoMTA's own shaping file has this rule, and rules add up: it would count twice; left out"
            )
            yield Note(topic="not imported", origin=item.origin, sentence=sentence)
            continue
        position += 1
        row: dict[str, Json] = {owner.column: owner.name, "position": position, **values}
        yield Row(table=f"{owner.prefix}_automation", values=row, origin=item.origin)
