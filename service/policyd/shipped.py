"""Files that are shipped beside the code: the migrations, the example policy, the Lua client."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_REPOSITORY = _PACKAGE.parent.parent


def sql_root() -> Path:
    """
    Directory of the numbered migrations.

    A wheel carries it as `policyd/sql`; an editable install has only the repository's.
    """
    return _first_directory(_PACKAGE / "sql", _REPOSITORY / "sql")


def example_root() -> Path:
    """Directory of the example policy that `policyd up` imports on its first run."""
    return _first_directory(_PACKAGE / "example", _REPOSITORY / "deploy" / "example")


def lua_root() -> Path:
    """Directory that holds the Lua client as `policyd/`, and what installs it."""
    return _first_directory(_PACKAGE / "lua", _REPOSITORY / "lua-client")


def _first_directory(*candidates: Path) -> Path:
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f"this installation of policyd is incomplete: there is neither {places}")
