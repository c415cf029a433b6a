"""policyd config, policyd version, policyd lua-path: what this policyd is, and where."""

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import click

from policyd import __version__
from policyd.cli.configured import configured
from policyd.config_loader import Loaded, known, listed
from policyd.shipped import lua_root
from policyd.store.migrate import shipped_migrations
from policyd.units import Address, Bytes, Seconds, render_duration, render_size


@click.command("config")
@configured
def config(loaded: Loaded) -> None:
    """Print the configuration in force, and where each value comes from; secrets are not shown."""
    for section, values in loaded.config.sections():
        click.echo(f"[{section}]")
        for field in dataclasses.fields(values):
            key = f"{section}.{field.name}"
            line = f"{field.name} = {_rendered(key, getattr(values, field.name))}"
            origin = loaded.origins.get(key)
            click.echo(f"{line}  # {origin}" if origin else line)
        click.echo()


def _rendered(key: str, value: Any) -> str:
    setting = known()[listed(key)]
    if setting.is_secret:
        return '"(set, not shown)"' if value else '""'
    if value is None:
        return '""'
    if setting.type in (Seconds, Seconds | None):
        return json.dumps(render_duration(value))
    if setting.type is Bytes:
        return json.dumps(render_size(value))
    if isinstance(value, Path | Address):
        return json.dumps(str(value))
    return json.dumps(value)


@click.command("version")
def version() -> None:
    """Print what is needed in a report of a problem."""
    click.echo(f"policyd {__version__}")
    click.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    click.echo(f"schema {shipped_migrations()[-1].name}")


@click.command("lua-path")
@click.option("--package-path", is_flag=True, help="As Lua's package.path takes it, for a policy script.")
def lua_path(*, package_path: bool) -> None:
    """
    Print where the Lua client is: a directory with `policyd/` in it.

    `sh "$(policyd lua-path)/install.sh"` puts it where kumod looks, as `make install-lua` does.
    """
    root = lua_root()
    click.echo(f"{root}/?.lua;{root}/?/init.lua" if package_path else root)
