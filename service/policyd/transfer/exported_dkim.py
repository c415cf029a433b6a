"""DKIM as KumoMTA's dkim_sign helper reads it, and what its file cannot say: times, and places that are no path."""

from collections.abc import Mapping
from dataclasses import dataclass

from policyd.config import KeyRootConfig
from policyd.transfer.dkim_keys import KUMOMTA_DIRECTORY, SUFFIX
from policyd.transfer.findings import Json
from policyd.transfer.policyd_data import PLACE, WINDOW
from policyd.transfer.written import Record, Rows, given

_OWN = ("selector", "headers", "header_canonicalization", "body_canonicalization", "over_sign", "expiration")


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimFile:
    """The file's table, the sections that policyd's own file adds, and what KumoMTA would not find or not obey."""

    table: Mapping[str, Json]
    own: Mapping[str, Json]
    unplaced: tuple[str, ...]
    """Blocks whose key is somewhere that the file cannot say."""
    timed: tuple[str, ...]
    """Blocks with times, which KumoMTA signs with whatever the time."""
    elsewhere: str | None
    """Where the default root's keys are, if not where KumoMTA looks for them."""


def export_dkim(rows: Rows, key_roots: Mapping[str, KeyRootConfig]) -> DkimFile:
    """The rows of settings, domains and signatures; a path stands where the configuration knows one for the key's root."""
    (settings,) = rows["dkim_settings"]
    default = key_roots.get(str(settings["key_root"]))
    additional = sorted(rows["dkim_additional_signature"], key=lambda row: int(str(row["position"])))
    base: dict[str, Json] = given(settings, *_OWN)
    if default is not None and default.kind == "vault":
        base |= {"vault_mount": default.mount, "vault_path_prefix": default.prefix}
    if additional:
        base["additional_signatures"] = [row["signature"] for row in additional]
    table: dict[str, Json] = {"base": base}
    own: dict[str, Json] = {}
    unplaced, timed = [], []
    for section, name_column in (("domain", "domain"), ("signature", "name")):
        blocks: dict[str, Json] = {}
        added: dict[str, Json] = {}
        for row in rows[f"dkim_{section}"]:
            name = str(row[name_column])
            blocks[name] = block = _block(section, row)
            path = _path(row, default, key_roots)
            if path is not None:
                block["filename"] = path
            elif row["key_root"] is not None:
                unplaced.append(f"{section} {name}")
            mine = given(row, *WINDOW)
            if mine:
                timed.append(f"{section} {name}")
            if row["key_root"] is not None:
                mine |= given(row, *PLACE)
            if mine:
                added[name] = mine
        table |= {section: blocks} if blocks else {}
        own |= {f"dkim_{section}": added} if added else {}
    return DkimFile(
        table=table,
        own=own,
        unplaced=tuple(unplaced),
        timed=tuple(timed),
        elsewhere=_elsewhere(default, str(settings["key_root"])),
    )


def _block(section: str, row: Record) -> dict[str, Json]:
    block = {} if section == "domain" else given(row, "domain", "policy")
    block |= given(row, *_OWN)
    if row["algorithm"] is not None:
        block["algo"] = row["algorithm"]
    return block


def _path(row: Record, default: KeyRootConfig | None, key_roots: Mapping[str, KeyRootConfig]) -> str | None:
    """The `filename` of the row's key: None where it follows from the row's name, or cannot be said."""
    in_vault = default is not None and default.kind == "vault"
    name = row["key_name"]
    if row["key_root"] is None:
        if name is None:
            return None
        if default is not None and in_vault:
            return _below(default.prefix, str(name))
        return f"{KUMOMTA_DIRECTORY}/{name}{SUFFIX}"
    root = key_roots.get(str(row["key_root"]))
    if root is None or name is None or in_vault != (root.kind == "vault"):
        return None
    if root.kind == "files":
        return f"{root.dir}/{name}{root.suffix}"
    return _below(root.prefix, str(name)) if default is not None and root.mount == default.mount else None


def _below(prefix: str, name: str) -> str:
    return f"{prefix.strip('/')}/{name}" if prefix.strip("/") else name


def _elsewhere(default: KeyRootConfig | None, name: str) -> str | None:
    if default is None:
        return f"where the service's configuration has [keys.{name}]"
    if default.kind == "vault" or (str(default.dir) == KUMOMTA_DIRECTORY and default.suffix == SUFFIX):
        return None
    return f"{default.dir}/DOMAIN/SELECTOR{default.suffix}"
