"""Helper files of all kinds as one import: everything found in them, sorted by what is to be done with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from policyd.transfer.dkim import read_dkim
from policyd.transfer.files import HelperFile, HelperKind
from policyd.transfer.findings import (
    Checked,
    Finding,
    HostAddress,
    KeyRoot,
    Note,
    Problem,
    Reference,
    Row,
    Secret,
    WantedKey,
)
from policyd.transfer.listener_domains import read_listener_domains
from policyd.transfer.names import node_group_problem
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
) -> Transfer:
    """
    The files as rows, merged in the order given; *listener_names* maps `ip:port` to names of the operator's own.

    With *packaged_shaping*, nodes load KumoMTA's own shaping file too, so that its rules are left out.
    *key_directory* is where the keys of the default root are now, besides KumoMTA's own directory.
    """
    order = {file.name: number for number, file in enumerate(files)}
    found = [
        *_findings(files, node_group, listener_names or {}, packaged_shaping),
        *read_dkim([file for file in files if file.kind == "dkim"], key_directory),
    ]
    return _sorted(found, order)


def _findings(
    files: Sequence[HelperFile],
    node_group: str | None,
    listener_names: Mapping[str, str],
    packaged_shaping: bool,  # noqa: FBT001
) -> Iterator[Finding]:
    if node_group is not None:
        yield from node_group_problem(node_group)
    of_kind: dict[HelperKind, list[HelperFile]] = {}
    for file in files:
        of_kind.setdefault(file.kind, []).append(file)
        for key in file.repeated:
            sentence = f"'{key}' stands twice in one object; KumoMTA takes the last one, and so does policyd"
            yield Note(topic="surprise", origin=file.origin(), sentence=sentence)
        if node_group is not None and file.kind != "sources":
            sentence = f"only sources and pools can be of a group of nodes, and this is a file of {file.kind}"
            yield Problem(origin=file.origin(), sentence=sentence)
    yield from read_sources(of_kind.get("sources", []), node_group)
    yield from read_queues(of_kind.get("queues", []))
    yield from read_listener_domains(of_kind.get("listener_domains", []), listener_names)
    yield from read_shaping(of_kind.get("shaping", []), packaged=packaged_shaping)


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
