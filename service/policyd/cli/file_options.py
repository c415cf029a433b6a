"""Files as commands are given them: by path, and how they are to be read."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from policyd.cli.configured import configured
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.operate.helper_files import read_paths
from policyd.transfer.reading import Transfer

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The paths that a command was given, and the options that say how they are meant."""

    paths: Sequence[str]
    node_group: str | None
    listener_names: Mapping[str, str]
    no_default_files: bool

    def read(self, config: Config, *, key_directory: Path | None = None) -> Transfer:
        """What the files come to."""
        return read_paths(
            self.paths,
            node_group=self.node_group,
            listener_names=self.listener_names,
            packaged_shaping=not self.no_default_files,
            key_directory=None if key_directory is None else str(key_directory.absolute()),
            key_roots=config.keys,
        )

    def __str__(self) -> str:
        return ", ".join(self.paths)


_OPTIONS = (
    click.argument("paths", metavar="PATH…", nargs=-1, required=True),
    click.option(
        "--node-group",
        metavar="NAME",
        help="Sources and pools as this group of nodes has them, not as all nodes do.",
    ),
    click.option(
        "--listener-name",
        "listener_names",
        metavar="IP:PORT=NAME",
        multiple=True,
        help="Call a listener of the files by the name in its meta (policyd_listener).",
    ),
    click.option(
        "--no-default-files",
        is_flag=True,
        help="Nodes do not load KumoMTA's own shaping file: import what these files have in common with it.",
    ),
)


def with_files(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command files, and the configuration in force."""

    @functools.wraps(command)
    def given_files(
        loaded: Loaded,
        *,
        paths: Sequence[str],
        node_group: str | None,
        listener_names: Sequence[str],
        no_default_files: bool,
        **kwargs: Any,
    ) -> R:
        files = Files(
            paths=paths,
            node_group=node_group,
            listener_names=_pairs(listener_names),
            no_default_files=no_default_files,
        )
        return command(loaded, files, **kwargs)

    wrapped: Callable[..., R] = configured(cast("Callable[..., R]", given_files))
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _pairs(written: Sequence[str]) -> dict[str, str]:
    pairs = [each.rpartition("=") for each in written]
    if any(not address or not name for address, _, name in pairs):
        raise click.BadParameter("write IP:PORT=NAME", param_hint="--listener-name")
    return {address: name for address, _, name in pairs}
