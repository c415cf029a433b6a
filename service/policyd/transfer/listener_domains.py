"""KumoMTA's listener domain files as rows, merged as `policy-extras/listener_domains.lua` merges them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from policyd.transfer.files import HelperFile
from policyd.transfer.findings import Checked, Field, Finding, Json, Note, Origin, Problem, Row, toml_path
from policyd.transfer.names import listener_problem, row_domains
from policyd.transfer.trie import Trie, make_trie
from policyd.transfer.values import as_list

ANY_LISTENER = "*"

Place: TypeAlias = tuple[str, str]
Entry: TypeAlias = tuple[Origin, dict[str, Field]]


def read_listener_domains(
    files: Sequence[HelperFile], listener_names: Mapping[str, str]
) -> Iterator[Finding]:
    """The rows of `listener_domain`, and everything to be said about them."""
    entries: dict[str, dict[str, Entry]] = {}
    raw: dict[Place, str] = {}
    for file in files:
        for finding in _entries(file):
            if isinstance(finding, Problem | Note):
                yield finding
                continue
            (listener, domain), origin, fields = finding
            name = listener_names.get(listener, listener)
            if raw.setdefault((name, domain), listener) != listener:
                sentence = f"listeners '{listener}' and '{raw[name, domain]}' are both to be called '{name}'"
                yield Problem(origin=origin, sentence=f"{sentence}, and both have this domain")
            _, known = entries.setdefault(name, {}).get(domain, (origin, {}))
            entries[name][domain] = origin, {**known, **fields}
    places: dict[str, dict[str, Origin]] = {}
    for listener, domains in entries.items():
        first, _ = next(iter(domains.values()))
        yield from listener_problem(listener, first)
        yield from _never_matches(listener, first)
        places[listener] = {}
        for named in row_domains(
            "listener domain", {domain: origin for domain, (origin, _) in domains.items()}
        ):
            if isinstance(named, Problem | Note):
                yield named
                continue
            written, row = named
            origin, fields = domains[written]
            places[listener][row] = origin
            yield from _row(listener, row, origin, fields)
    yield from _trie_notes(places)


def _entries(file: HelperFile) -> Iterator[tuple[Place, Origin, dict[str, Field]] | Problem | Note]:
    """What one file says; a domain at the top level hides the same domain under `listener."*"`, as in KumoMTA."""
    listeners = file.data.get("listener", {})
    if not isinstance(listeners, dict):
        yield Problem(origin=file.origin("listener"), sentence="'listener' must be a table of listeners")
        listeners = {}
    found: dict[Place, tuple[Json, tuple[str, ...]]] = {}
    for listener, domains in listeners.items():
        if isinstance(domains, dict):
            found |= {
                (listener, domain): (table, ("listener", listener, domain))
                for domain, table in domains.items()
            }
        else:
            yield Problem(
                origin=file.origin("listener", listener), sentence="a listener must be a table of domains"
            )
    for domain, table in file.data.items():
        if domain == "listener":
            continue
        if (ANY_LISTENER, domain) in found:
            hidden = toml_path(("listener", ANY_LISTENER, domain))
            sentence = f"hides {hidden} of the same file, as in KumoMTA"
            yield Note(topic="surprise", origin=file.origin(domain), sentence=sentence)
        found[ANY_LISTENER, domain] = table, (domain,)
    for place, (table, key) in found.items():
        if isinstance(table, dict):
            fields = {
                name: Field(value=value, origin=file.origin(*key, name)) for name, value in table.items()
            }
            yield place, file.origin(*key), fields
        else:
            yield Problem(origin=file.origin(*key), sentence="a listener domain must be a table of options")


def _row(listener: str, domain: str, origin: Origin, fields: Mapping[str, Field]) -> Iterator[Finding]:
    values: dict[str, Json] = {"listener": listener, "domain": domain}
    for name, item in fields.items():
        match name:
            case "ttl":
                yield Note(
                    topic="ignored", origin=item.origin, sentence="KumoMTA ignores this option; left out"
                )
            case "relay_from" | "relay_from_authz":
                values[name] = as_list(item.value)
            case "log_oob" | "log_arf":
                values[name] = str(item.value).lower() if isinstance(item.value, bool) else item.value
            case "relay_to":
                values[name] = item.value
            case _:
                pass  # the check says that there is no such option
    yield Checked(
        object="listener_domain",
        record={name: _as_given(name, item.value) for name, item in fields.items()},
        origin=origin,
        origins={name: item.origin for name, item in fields.items()},
    )
    yield Row(table="listener_domain", values=values, origin=origin)


def _as_given(name: str, value: Json) -> Json:
    return as_list(value) if name in {"relay_from", "relay_from_authz"} else value


def _never_matches(listener: str, origin: Origin) -> Iterator[Note]:
    if listener.startswith(("0.0.0.0:", "[::]:", ":::")):
        yield Note(
            topic="surprise",
            origin=origin,
            sentence=f"no connection has the local address {listener}: KumoMTA compares with the address that the peer"
            " connected to, so these entries never answer; name the address, or give the listener a name of its own"
            " (--listener-name)",
        )


def _trie_notes(places: Mapping[str, Mapping[str, Origin]]) -> Iterator[Note]:
    """For each entry that policyd answers with where KumoMTA answers otherwise: the names for which it does."""
    tries = {listener: make_trie(domains) for listener, domains in {ANY_LISTENER: {}, **places}.items()}
    for listener, trie in tries.items():
        by_entry: dict[Place, list[str]] = {}
        for name in trie.doubtful_names():
            theirs, ours = _kumomta(tries, listener, name), _policyd(tries, listener, name)
            if ours is not None and theirs != ours:
                case = f"{name}: KumoMTA answers {_spoken(theirs)}, policyd answers {_spoken(ours)}"
                by_entry.setdefault(ours, []).append(case)
        on = "" if listener == ANY_LISTENER else f" on listener {listener}"
        for (owner, domain), cases in by_entry.items():
            yield Note(
                topic="trie",
                origin=places[owner][domain],
                sentence=f"policyd answers with the nearest name, KumoMTA does not go back to a wildcard{on}",
                details=tuple(cases),
            )


def _kumomta(tries: Mapping[str, Trie], listener: str, name: str) -> Place | None:
    anywhere = tries[ANY_LISTENER]
    if listener != ANY_LISTENER and (found := tries[listener].kumomta(name)):
        return listener, found
    found = anywhere.kumomta(name) or ("*" if "*" in anywhere.keys else None)
    return (ANY_LISTENER, found) if found else None


def _policyd(tries: Mapping[str, Trie], listener: str, name: str) -> Place | None:
    for each in dict.fromkeys((listener, ANY_LISTENER)):
        if found := tries[each].policyd(name):
            return each, found
    return None


def _spoken(place: Place | None) -> str:
    if place is None:
        return "nothing"
    listener, domain = place
    return domain if listener == ANY_LISTENER else f"{domain} (of listener {listener})"
