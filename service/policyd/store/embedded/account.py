"""Which unprivileged user runs PostgreSQL when policyd is root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from policyd.errors import EmbeddedUnavailable

# nobody is shared with whatever else runs as nobody, so it comes last.
PREFERRED = ("policyd", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user other than root."""

    name: str
    uid: int
    gid: int


def choose(data: Path, *, wanted: str) -> Account | None:
    """
    User that runs PostgreSQL; None where policyd's own user can.

    Data that is there keeps its owner, so that an account created later changes nothing.
    """
    if os.geteuid() != 0:
        if wanted and wanted != starter():
            raise EmbeddedUnavailable(f"embedded.account = {wanted} needs policyd to be started as root")
        return None
    owner = _owner(data)
    for name in [wanted] if wanted else [*([owner] if owner else []), *PREFERRED]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise EmbeddedUnavailable(
                "PostgreSQL refuses to run as root: embedded.account must be another user"
            )
        if owner and owner != name:
            raise EmbeddedUnavailable(
                f"{data} belongs to {owner}, and embedded.account is {name}",
                hint=f"stop policyd and give the data to {name}: chown -R {name}: {data}",
            )
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedUnavailable(
        f"PostgreSQL does not run as root, and there is no user {wanted or ', '.join(PREFERRED)} to run it",
        hint="useradd --system --no-create-home policyd",
    )


def starter() -> str:
    """Name of the user who runs policyd."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedUnavailable(
            f"the user id {os.geteuid()} has no name on this machine, and PostgreSQL needs one",
            hint="add a line for it to /etc/passwd, or use a PostgreSQL elsewhere with POLICYD_DATABASE_DSN",
        ) from None


def _owner(data: Path) -> str | None:
    try:
        return pwd.getpwuid(data.stat().st_uid).pw_name
    except (OSError, KeyError):
        return None
