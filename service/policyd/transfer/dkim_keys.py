"""Where the keys of a DKIM file are: key roots of the service's configuration in place of paths."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from policyd.config import KeyRootConfig
from policyd.transfer.findings import Field, KeyRoot, Origin, Problem

KUMOMTA_DIRECTORY: Final = "/opt/kumomta/etc/dkim"
DEFAULT_ROOT: Final = "default"
SUFFIX: Final = ".key"

# As policy.is_key_name in sql/0013_dkim.sql.
_PART = "[A-Za-z0-9_+=@-][A-Za-z0-9_.+=@-]{0,199}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,7}}")
_ROOT = re.compile(r"[a-z][a-z0-9-]{0,62}")  # as policy.is_key_root there

_Directory: TypeAlias = tuple[str, str, str | None]
"""A root of files: where it is, what its files' names end with, and its name (None: the default)."""


@dataclass(slots=True)
class KeyPlaces:
    """The key roots that a set of files needs, found as their keys are."""

    directories: Sequence[str]
    """Where files of the default root may be written to live."""
    known: Mapping[str, KeyRootConfig] = field(default_factory=dict)
    """The key roots that are configured already: what is in one of them needs no other."""
    mount: str | None = None
    prefix: str = "dkim"
    origin: Origin | None = None
    roots: dict[tuple[str, str], KeyRoot] = field(default_factory=dict)

    @classmethod
    def of(
        cls, base: Mapping[str, Field], directories: Sequence[str], known: Mapping[str, KeyRootConfig]
    ) -> "KeyPlaces":
        """The places of files with this [base]."""
        mount, prefix = base.get("vault_mount"), base.get("vault_path_prefix")
        if mount is None or not isinstance(mount.value, str):
            return cls(directories=directories, known=known)
        written = prefix.value if prefix is not None and isinstance(prefix.value, str) else "dkim"
        places = cls(
            directories=directories,
            known=known,
            mount=mount.value.strip("/"),
            prefix=written.strip("/"),
            origin=mount.origin,
        )
        places.roots["", ""] = KeyRoot(
            name=DEFAULT_ROOT,
            settings={"kind": "vault", "mount": places.mount or "", "prefix": places.prefix},
            origin=mount.origin,
        )
        return places

    def place(self, filename: Field) -> tuple[str | None, str] | Problem:
        """The key root (None for the default) and the name below it of a `filename`."""
        if not isinstance(filename.value, str) or not filename.value.strip("/"):
            return Problem(origin=filename.origin, sentence="must be the name of a file")
        found = (
            self._file(filename.value, filename.origin)
            if self.mount is None
            else self._secret(filename.value, filename.origin)
        )
        if found is None:
            return Problem(
                origin=filename.origin,
                sentence="is relative to the directory that kumod was started in: write the whole path",
            )
        if not is_key_name(found[1]):
            return Problem(
                origin=filename.origin,
                sentence=f"'{filename.value[:200]}' cannot be the name of a key: allowed are letters, digits and"
                " _ . + = @ - in each part of it, not beginning with a dot",
            )
        return found

    def _file(self, written: str, origin: Origin) -> tuple[str | None, str] | None:
        path = posixpath.normpath(written)
        if not path.startswith("/"):
            return None
        for directory, suffix, root in sorted(self._known_directories(), key=_nearest_first, reverse=True):
            if path.startswith(f"{directory}/") and path.endswith(suffix):
                return root, path.removeprefix(f"{directory}/").removesuffix(suffix)
        directory, base = posixpath.split(path)
        stem, suffix = posixpath.splitext(base)
        settings = {"dir": directory} | ({"suffix": suffix} if suffix != SUFFIX else {})
        hint = directory if suffix == SUFFIX else f"{directory}-{suffix or 'plain'}"
        return self._root((directory, suffix), hint, settings, origin), stem

    def _known_directories(self) -> Iterator[_Directory]:
        yield from ((directory.rstrip("/"), SUFFIX, None) for directory in self.directories)
        for name, root in self.known.items():
            if root.kind == "files":
                yield str(root.dir).rstrip("/"), root.suffix, None if name == DEFAULT_ROOT else name

    def _secret(self, written: str, origin: Origin) -> tuple[str | None, str]:
        path = written.strip("/")
        if not self.prefix or path.startswith(f"{self.prefix}/"):
            return None, path.removeprefix(f"{self.prefix}/")
        for name, root in sorted(self.known.items(), key=lambda each: len(each[1].prefix), reverse=True):
            prefix = root.prefix.strip("/")
            inside = path.startswith(f"{prefix}/") or not prefix
            if root.kind == "vault" and root.mount.strip("/") == self.mount and inside:
                return None if name == DEFAULT_ROOT else name, path.removeprefix(f"{prefix}/")
        settings = {"kind": "vault", "mount": self.mount or "", "prefix": ""}
        return self._root((self.mount or "", ""), f"{self.mount}-all", settings, origin), path

    def _root(self, key: tuple[str, str], hint: str, settings: Mapping[str, str], origin: Origin) -> str:
        if key not in self.roots:
            slug = re.sub("[^a-z0-9]+", "-", hint.lower()).strip("-")[:50].strip("-")
            wanted = slug if re.match("[a-z]", slug) else f"keys-{slug}".strip("-")
            taken = {DEFAULT_ROOT, *self.known, *(root.name for root in self.roots.values())}
            names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(taken) + 2))
            name = next(name for name in names if name not in taken)
            self.roots[key] = KeyRoot(name=name, settings=settings, origin=origin)
        return self.roots[key].name


def is_key_root(name: object) -> bool:
    """Whether a key root can be called so."""
    return isinstance(name, str) and _ROOT.fullmatch(name) is not None


def is_key_name(name: object) -> bool:
    """Whether a key below a root can be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _nearest_first(directory: _Directory) -> tuple[str, str, bool]:
    path, suffix, root = directory
    return path, suffix, root is None
