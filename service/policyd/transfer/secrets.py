"""Secrets of files: taken out and named, so that rows, reports and logs never hold one."""

import re
from collections.abc import Collection, Iterator

from policyd.policy.shaping import SECRET_EVENT
from policyd.transfer.findings import Field, Json, Problem, Secret


def take_secret(
    option: str, owner: str, item: Field, record: dict[str, Json], secret_names: set[str]
) -> Iterator[Problem | Secret]:
    """Puts the name of the secret into the record; the secret goes no further than this."""
    match item.value:
        case {"secret": str(), **rest} if not rest:
            record[option] = item.value
            return
        case {"event_name": str(event), "event_args": [str(known)]} if event == SECRET_EVENT:
            record[option] = {"secret": known}  # as /shaping.json says it
            return
        case (
            str() | {"key_data": _} | {"vault_mount": _, "vault_path": _} | {"event_name": _, "event_args": _}
        ):
            pass
        case _:
            yield Problem(origin=item.origin, sentence="is no KeySource (KumoMTA's reference, 'keysource')")
    name = _unique_name(f"{option}_{re.sub('[^A-Za-z0-9]+', '_', owner).strip('_')}", secret_names)
    secret_names.add(name)
    record[option] = {"secret": name}
    yield Secret(name=name, origin=item.origin)


def _unique_name(wanted: str, taken: Collection[str]) -> str:
    candidates = (
        f"{wanted[:56]}{'' if number == 1 else f'_{number}'}" for number in range(1, len(taken) + 2)
    )
    return next(name for name in candidates if name not in taken)
