"""
From a TOML file, the environment and flags to a Config; nothing else reads the environment.

Later beats earlier: defaults, file, `$CREDENTIALS_DIRECTORY`, environment, flags. Every source is a flat table
`section.name → (value, where it came from)`, so that each complaint can name its source.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import os
import re
import stat
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from policyd.config import KEY_ROOT, LEAST, MOST, SECRET, Config, KeyRootConfig
from policyd.config_values import converted
from policyd.errors import ConfigError

DEFAULT_FILE = Path("/etc/policyd/policyd.toml")
PREFIX = "POLICYD_"

# Variables with our prefix that are no settings: the file itself, and what Kubernetes adds to every container when a
# Service of that namespace is called policyd.
_NO_SETTINGS = ("POLICYD_CONFIG", "POLICYD_TEST_")
_KUBERNETES = ("POLICYD_SERVICE_", "POLICYD_PORT")
_VAULT = {
    "ADDR": "address",
    "NAMESPACE": "namespace",
    "TOKEN": "token",
    "CACERT": "ca_file",
    "CLIENT_CERT": "client_cert",
    "CLIENT_KEY": "client_key",
}
"""What `vault` and `bao` call their own settings, after VAULT_ or BAO_."""

_SECTIONS = {name: type(values) for name, values in Config().sections()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value as somebody wrote it, and where."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The configuration, and for each `section.name` that is no default where its value came from."""

    config: Config
    origins: Mapping[str, str]


def load(
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """
    Configuration in force.

    *flags* are by `section.name`. *file* must exist; without it `POLICYD_CONFIG`, else the default file if there is one.
    """
    given: dict[str, Given] = {}
    for source in (
        _well_known(environ),
        _from_file(file, environ),
        _from_credentials(environ),
        _from_environment(environ),
        _from_flags(flags or {}),
    ):
        later = dict(source)
        for key in later:
            given.pop(key.removesuffix("_file") if key.endswith("_file") else f"{key}_file", None)
        given.update(later)
    built = {
        name: _build(name, cls, given) for name, cls in _SECTIONS.items() if not name.startswith("keys.")
    }
    loaded = Config(**built, keys=_key_roots(given))
    _check_together(loaded)
    return Loaded(config=loaded, origins={key: value.origin for key, value in given.items()})


@functools.cache
def known() -> Mapping[str, "Setting"]:
    """Every setting there is, by `section.name`."""
    return {
        f"{section}.{field.name}": Setting(
            type=typing.get_type_hints(cls)[field.name], metadata=field.metadata
        )
        for section, cls in _SECTIONS.items()
        for field in dataclasses.fields(cls)
    }


def listed(key: str) -> str:
    """*key* as `known` lists it: every key root has the settings of `keys.default`."""
    section, _, name = key.rpartition(".")
    return f"keys.default.{name}" if section.startswith("keys.") else key


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a setting may be."""

    type: Any
    metadata: Mapping[str, Any]

    @property
    def is_secret(self) -> bool:
        return bool(self.metadata.get(SECRET))


def read_secret(path: Path, *, origin: str) -> str:
    """Content of a secret's file without the last newline; ConfigError where everybody may read it."""
    try:
        refuse_if_readable_by_all(path, origin=origin)
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{origin}: cannot read the secret in {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def refuse_if_readable_by_all(path: Path, *, origin: str) -> None:
    """ConfigError where *path* is readable by everybody on this machine."""
    if path.stat().st_mode & stat.S_IROTH:
        raise ConfigError(
            f"{origin}: {path} holds a secret and everybody on this machine can read it",
            hint=f"chmod o-rwx {path}",
        )


def _well_known(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's StateDirectory=
    home = environ.get("XDG_STATE_HOME") or str(
        Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    )
    if state:
        yield "embedded.state", Given(value=state, origin="STATE_DIRECTORY")
    elif os.geteuid() != 0:
        yield "embedded.state", Given(value=f"{home}/policyd", origin="the home directory")
    for name in ("PGHOST", "PGSERVICE"):
        if environ.get(name):
            # An empty DSN with a scheme: the driver takes PGHOST, PGPORT, PGUSER, PGPASSFILE … as libpq does.
            yield "database.dsn", Given(value="postgresql://", origin=name)
    for name in (prefix + suffix for suffix in _VAULT for prefix in ("VAULT_", "BAO_")):
        if environ.get(name):
            yield f"vault.{_VAULT[name.partition('_')[2]]}", Given(value=environ[name], origin=name)


def _from_file(file: Path | None, environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    named = file or (Path(environ["POLICYD_CONFIG"]) if environ.get("POLICYD_CONFIG") else None)
    path = named or DEFAULT_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        if named is None:
            return
        raise ConfigError(f"there is no configuration file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {_reason(error)}") from error
    flat: dict[str, object] = {}
    for section, table in _tables(document):
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} stands alone: write it under a section such as [lookup]")
        flat |= {f"{section}.{name}": value for name, value in table.items()}
    given = dict(_secrets_resolved(flat, origin=str(path), spell=lambda key: key))
    if any(_is_secret(key, flat.get(key)) for key in given):
        refuse_if_readable_by_all(path, origin="the configuration file")
    yield from given.items()


def _is_secret(key: str, value: object) -> bool:
    """Whether nobody else may see this. A DSN without a password says only where the database is."""
    if not value or not known()[listed(key)].is_secret:
        return False
    return key != "database.dsn" or re.search(r"//[^/@]*:[^/@]*@|[?&]password=", str(value)) is not None


def _tables(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The sections of a file; those of key roots by both of their names."""
    for section, table in document.items():
        if section == "keys" and isinstance(table, dict):
            yield from ((f"keys.{root}", settings) for root, settings in table.items())
        else:
            yield section, table


def _from_credentials(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return
    for key, setting in known().items():
        path = Path(directory) / key
        if setting.is_secret and path.exists():
            yield key, Given(value=read_secret(path, origin="CREDENTIALS_DIRECTORY"), origin=str(path))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    names = {_variable(key): key for key in known()}
    names |= {
        _variable(key) + "_FILE": f"{key}_file" for key, setting in known().items() if setting.is_secret
    }
    flat: dict[str, object] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(_NO_SETTINGS):
            continue
        if variable in names:
            flat[names[variable]] = value
        elif not variable.startswith(_KUBERNETES):
            raise ConfigError(f"there is no setting {variable}{_nearest(variable, names)}")
    yield from _secrets_resolved(flat, origin="the environment", spell=_variable)


def _from_flags(flags: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    yield from _secrets_resolved(dict(flags), origin="a flag", spell=lambda key: key)


def _secrets_resolved(
    flat: Mapping[str, object], *, origin: str, spell: Callable[[str], str]
) -> Iterator[tuple[str, Given]]:
    """Settings of one source; those named `…_file` replaced by what the file holds."""
    for key, value in flat.items():
        secret = key.removesuffix("_file")
        is_file = secret != key and secret in known() and known()[secret].is_secret
        if is_file and secret in flat:
            raise ConfigError(f"{origin}: both {spell(secret)} and {spell(key)} are set; which one is meant?")
        if listed(key) in known():
            yield key, Given(value=value, origin=f"{origin}, {spell(key)}" if spell(key) != key else origin)
        elif is_file:
            path = Path(str(value))
            yield secret, Given(value=read_secret(path, origin=f"{origin}, {spell(key)}"), origin=str(path))
        else:
            raise ConfigError(f"{origin}: there is no setting {key}{_nearest(key, known())}")


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _build(section: str, cls: Any, given: Mapping[str, Given]) -> Any:
    values = {
        field.name: _parsed(key, given[key])
        for field in dataclasses.fields(cls)
        if (key := f"{section}.{field.name}") in given
    }
    return cls(**values)


def _key_roots(given: Mapping[str, Given]) -> Mapping[str, KeyRootConfig]:
    roots: dict[str, KeyRootConfig] = {}
    for name in sorted(
        {"default", *(key.split(".", 1)[1].rpartition(".")[0] for key in given if key.startswith("keys."))}
    ):
        if not KEY_ROOT.fullmatch(name):
            raise ConfigError(f"[keys.{name}]: a key root is called like default or acme-2")
        roots[name] = _build(f"keys.{name}", KeyRootConfig, given)
    return MappingProxyType(roots)


def _parsed(key: str, given: Given) -> object:
    setting = known()[listed(key)]
    shown = "" if setting.is_secret else f" = {given.value!r}"
    try:
        value = converted(setting.type, given.value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}{shown} {error} ({given.origin})") from None
    least, most = setting.metadata.get(LEAST, -math.inf), setting.metadata.get(MOST, math.inf)
    if isinstance(value, int | float) and not least <= value <= most:
        raise ConfigError(f"{key}{shown} is out of range: {least:g} to {most:g} ({given.origin})")
    return value


def _check_together(loaded: Config) -> None:
    lookup = loaded.lookup
    if (lookup.tls_cert is None) != (lookup.tls_key is None):
        raise ConfigError("lookup.tls_cert and lookup.tls_key belong together, and one of them is missing")
    if not lookup.require_tokens and not lookup.listen.is_loopback:
        raise ConfigError(
            f"without tokens everybody who reaches {lookup.listen} could read policy:"
            " set lookup.require_tokens = true, or let lookup.listen be a loopback address"
        )
    if lookup.tls_key is not None:
        with contextlib.suppress(OSError):  # whoever serves will say what is wrong with it
            refuse_if_readable_by_all(lookup.tls_key, origin="lookup.tls_key")
    if not re.match(r"postgres(ql)?://|$", loaded.database.dsn):
        raise ConfigError("database.dsn is not understood: write postgresql://user@host:5432/database")
    if loaded.feed.poll >= loaded.feed.lease:
        raise ConfigError("feed.poll must be shorter than feed.lease, or no replica would ever be current")
    if loaded.feed.read_on_deadline >= lookup.deadline:
        raise ConfigError("feed.read_on_deadline must be shorter than lookup.deadline")
