"""Helper files of all kinds as one import: everything found in them, sorted by what is to be done with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policyd.config import KeyRootConfig
from policyd.transfer.dkim import read_dkim
from policyd.transfer.files import HelperFile, HelperKind
from policyd.transfer.findings import (
    Checked,
    Finding,
    HostAddress,
    KeyRoot,
    Note,
    Origin,
    Problem,
    Reference,
    Row,
    Secret,
    WantedKey,
)
from policyd.transfer.listener_domains import read_listener_domains
from policyd.transfer.names import node_group_problem
from policyd.transfer.policyd_data import SIGNING, PolicydData, read_policyd_data, without_row
from policyd.transfer.queues import read_queues
from policyd.transfer.shaping import read_shaping
from policyd.transfer.sources import read_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What the files come to. Nothing of it is stored while there are problems."""

    rows: tuple[Row, ...] = ()
    checks: tuple[Checked, ...] = ()
    references: tuple[Reference, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    secrets: tuple[Secret, ...] = ()
    host_address: HostAddress | None = None
    key_roots: tuple[KeyRoot, ...] = ()
    wanted_keys: tuple[WantedKey, ...] = ()
    kinds: frozenset[HelperKind] = frozenset()
    """Of what there are files: what the files do not hold of these kinds, they say is not there."""
    on_missing: str | None = None
    """What policyd's own file says of mail without a pool or a tenant, if it says it."""
    key_root: str | None = None
    """What policyd's own file says of the key root of who names none, if it says it."""

    def secrets_line(self) -> str:
        """The argument of `policyd:setup` that gives the secrets to a node, with blanks to fill in."""
        entries = "".join(f"\n  ['{secret.name}'] = '…',  -- {secret.origin}" for secret in self.secrets)
        return f"secrets = {{{entries}\n}}," if entries else ""


def transfer(
    files: Sequence[HelperFile],
    *,
    node_group: str | None = None,
    listener_names: Mapping[str, str] | None = None,
    packaged_shaping: bool = True,
    key_directory: str | None = None,
    key_roots: Mapping[str, KeyRootConfig] | None = None,
) -> Transfer:
    """
    The files as rows, merged in the order given; *listener_names* maps `ip:port` to names of the operator's own.

    With *packaged_shaping*, nodes load KumoMTA's own shaping file too, so that its rules are left out.
    *key_directory* is where the keys of the default root are now, besides KumoMTA's own directory; *key_roots* are
    those of the service's configuration.
    """
    of_kind: dict[HelperKind, list[HelperFile]] = {}
    for file in files:
        of_kind.setdefault(file.kind, []).append(file)
    own = PolicydData()
    found = [
        *_repeated(files),
        *([] if node_group is None else _only_sources(files, node_group)),
        *read_policyd_data(of_kind.get("policyd", []), own),
        *read_sources(of_kind.get("sources", []), node_group),
        *read_queues(of_kind.get("queues", [])),
        *read_listener_domains(of_kind.get("listener_domains", []), listener_names or {}),
        *read_shaping(of_kind.get("shaping", []), packaged=packaged_shaping and not own.no_default_files),
        *read_dkim(of_kind.get("dkim", []), key_directory=key_directory, key_roots=key_roots or {}, own=own),
    ]
    found += _without_row(own, found)
    return replace(
        _sorted(found, {file.name: number for number, file in enumerate(files)}),
        kinds=frozenset(of_kind),
        on_missing=None if own.on_missing is None else str(own.on_missing.value),
        key_root=None if own.key_root is None else str(own.key_root.value),
    )


def _repeated(files: Sequence[HelperFile]) -> Iterator[Note]:
    for file in files:
        for key in file.repeated:
            sentence = f"'{key}' stands twice in one object; KumoMTA takes the last one, and so does policyd"
            yield Note(topic="surprise", origin=file.origin(), sentence=sentence)


def _only_sources(files: Sequence[HelperFile], node_group: str) -> Iterator[Problem]:
    yield from node_group_problem(node_group, Origin(file="--node-group"))
    for file in files:
        if file.kind != "sources":
            sentence = f"only sources and pools can be of a group of nodes, and this is a file of {file.kind}"
            yield Problem(origin=file.origin(), sentence=sentence)


def _without_row(own: PolicydData, found: Sequence[Finding]) -> list[Problem]:
    signers = {
        (row.table, str(row.values[SIGNING[row.table]]))
        for row in found
        if isinstance(row, Row) and row.table in SIGNING
    }
    return list(without_row(own, signers))


def _sorted(findings: Iterable[Finding], order: Mapping[str, int]) -> Transfer:
    """The findings by what they are, each kind in the order of the files."""
    everything = sorted(findings, key=lambda each: (order.get(each.origin.file, -1), each.origin.line or 0))
    notes = [finding for finding in everything if isinstance(finding, Note)]
    return Transfer(
        rows=tuple(finding for finding in everything if isinstance(finding, Row)),
        checks=tuple(finding for finding in everything if isinstance(finding, Checked)),
        references=tuple(finding for finding in everything if isinstance(finding, Reference)),
        problems=tuple(finding for finding in everything if isinstance(finding, Problem)),
        notes=tuple(note for note in notes if not isinstance(note, HostAddress)),
        secrets=tuple(finding for finding in everything if isinstance(finding, Secret)),
        host_address=next((note for note in notes if isinstance(note, HostAddress)), None),
        key_roots=tuple(finding for finding in everything if isinstance(finding, KeyRoot)),
        wanted_keys=tuple(finding for finding in everything if isinstance(finding, WantedKey)),
    )
