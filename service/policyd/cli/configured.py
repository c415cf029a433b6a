"""Options that every command has, and the configuration that they lead to."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from policyd import config_loader
from policyd.config_loader import Loaded

P = ParamSpec("P")
R = TypeVar("R")


def configured(command: Callable[Concatenate[Loaded, P], R]) -> Callable[..., R]:
    """Give a command the configuration in force, from its options `--config`, `--set` and `--state` and the rest."""

    @click.option(
        "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Configuration (TOML)."
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.NAME=VALUE",
        help="One setting, for example lookup.listen=127.0.0.1:8090; repeatable.",
    )
    @click.option("--state", metavar="DIR", help="State directory of the embedded PostgreSQL.")
    @functools.wraps(command)
    def with_configuration(
        *args: Any, file: Path | None, assignments: tuple[str, ...], state: str | None, **kwargs: Any
    ) -> R:
        flags = dict(_split(each) for each in assignments)
        if state is not None:
            flags["embedded.state"] = state
        loaded = config_loader.load(environ=os.environ, flags=flags, file=file)
        return command(loaded, *args, **kwargs)

    return with_configuration


def _split(assignment: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals:
        raise click.BadParameter(f"{assignment!r} is not SECTION.NAME=VALUE", param_hint="--set")
    return name.strip(), value
