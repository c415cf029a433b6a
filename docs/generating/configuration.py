"""The configuration, from the classes that hold it."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

from generating.markdown import code, made, table

from policyd.config import LEAST, MOST, SECRET, Config
from policyd.config_loader import PREFIX


def configuration_page() -> str:
    """Every setting with its variable, default and limits, by section."""
    return made(
        "Configuration",
        "A TOML file (`--config`, `POLICYD_CONFIG`, else `/etc/policyd/policyd.toml`), then files in `$CREDENTIALS_DIRECTORY`,"
        " then the environment, then `--set section.name=value`; later beats earlier. Every **secret** may come from a file:"
        " `name_file` in TOML, `…_FILE` in the environment. Durations are seconds or `500ms`, `2s`, `10m`, `7d`; sizes are"
        " bytes or `256MiB`. `policyd config` prints what is in force and where each value came from.",
        *_sections(),
    )


def _sections() -> Iterator[str]:
    for section, values in Config().sections():
        shown = section.replace("keys.default", "keys.NAME")
        rows = [_row(section, field, getattr(values, field.name)) for field in dataclasses.fields(values)]
        yield f"## [{shown}]\n\n{inspect.getdoc(type(values))}"
        yield table(["setting", "variable", "default", "allowed"], rows)


def _row(section: str, field: "dataclasses.Field[object]", default: object) -> tuple[str, str, str, str]:
    variable = f"{PREFIX}{section}_{field.name}".replace(".", "_").upper()
    name = code(field.name) + (" (secret)" if field.metadata.get(SECRET) else "")
    return name, code(variable), code(_written(default)), _allowed(field)


def _written(value: object) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return "true" if value else "false"
        case Path():
            return str(value)
        case _:
            return str(value)


def _allowed(field: "dataclasses.Field[object]") -> str:
    least, most = field.metadata.get(LEAST), field.metadata.get(MOST)
    if least is not None:
        return f"{least:g} to {most:g}"
    choices = getattr(field.type, "__args__", ()) if not isinstance(field.type, str) else ()
    return ", ".join(code(each) for each in choices if isinstance(each, str))
