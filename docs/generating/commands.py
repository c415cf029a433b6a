"""The commands, from click: a page of Markdown and one for man(1)."""

import re
from collections.abc import Iterator

import click
from generating.markdown import code, made, table

from policyd import __version__
from policyd.cli.main import EPILOG, policyd

_EVERYWHERE = {"file", "assignments", "state", "help"}
"""Parameters of every command, said once."""


def commands_page() -> str:
    """Every command with its arguments and options."""
    return made(
        "Commands",
        "`policyd COMMAND --help` says the same. Every command takes `--config FILE`, `--set SECTION.NAME=VALUE`"
        " (repeatable) and `--state DIR`.",
        f"```text\n{_plain(EPILOG)}\n```",
        *(_section(context, command) for context, command in _commands()),
    )


def manual_page() -> str:
    """policyd(1)."""
    parts = [
        f'.TH POLICYD 1 "" "policyd {__version__}" "policyd"',
        ".SH NAME",
        "policyd \\- live policy for KumoMTA",
        ".SH SYNOPSIS",
        ".B policyd",
        "COMMAND [OPTION]...",
        ".SH DESCRIPTION",
        _roff(policyd.help or ""),
        (
            "Every command takes \\fB\\-\\-config\\fR FILE, \\fB\\-\\-set\\fR SECTION.NAME=VALUE (repeatable) and"
            " \\fB\\-\\-state\\fR DIR."
        ),
        ".SH COMMANDS",
    ]
    for context, command in _commands():
        parts += [
            f".SS {_roff(_usage(context, command))}",
            _roff(_plain(command.help or command.short_help or "")),
        ]
        for option in _options(command):
            parts += [".TP", f".B {_roff(_spelled(option))}", _roff(option.help or "")]
    parts += [".SH EXIT STATUS"]
    for status, meaning in re.findall(r"^ +(\d+)  (.+)$", EPILOG, re.MULTILINE):
        parts += [".TP", f".B {status}", _roff(meaning)]
    parts += [
        ".SH FILES",
        ".TP",
        ".I /etc/policyd/policyd.toml",
        "The configuration, unless \\fB\\-\\-config\\fR or POLICYD_CONFIG names another one.",
        ".TP",
        ".I /var/lib/policyd",
        "The embedded PostgreSQL, where one is used.",
    ]
    return "\n".join(parts) + "\n"


def _commands() -> Iterator[tuple[click.Context, click.Command]]:
    root = click.Context(policyd, info_name="policyd")
    for name in policyd.list_commands(root):
        command = policyd.get_command(root, name)
        if command is not None and not command.hidden:
            yield from _below(click.Context(command, info_name=name, parent=root), command)


def _below(context: click.Context, command: click.Command) -> Iterator[tuple[click.Context, click.Command]]:
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _below(click.Context(inner, info_name=name, parent=context), inner)


def _section(context: click.Context, command: click.Command) -> str:
    level = "##" if context.parent is not None and context.parent.parent is None else "###"
    parts = [
        f"{level} {context.command_path}",
        f"```text\n{_usage(context, command)}\n```",
        _plain(command.help or ""),
    ]
    options = _options(command)
    if options:
        rows = [(code(_spelled(option)), option.help or "") for option in options]
        parts.append(table(["option", "meaning"], rows))
    return "\n\n".join(part for part in parts if part)


def _usage(context: click.Context, command: click.Command) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _options(command: click.Command) -> list[click.Option]:
    return [
        each
        for each in command.params
        if isinstance(each, click.Option) and each.name not in _EVERYWHERE and not each.hidden
    ]


def _spelled(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {'|'.join(str(each) for each in option.type.choices)}"
    return f"{names} {option.metavar or option.type.name.upper()}"


def _plain(text: str) -> str:
    """Help without click's own marks."""
    lines = [
        line.strip() if line.strip() == "\b" else line.rstrip() for line in text.strip("\n").splitlines()
    ]
    return "\n".join(line for line in lines if line != "\b").strip()


def _roff(text: str) -> str:
    """Text as roff: nothing in it is taken for a request or an escape."""
    escaped = text.replace("\\", "\\\\").replace("-", "\\-").strip()
    lines = [f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines()]
    return "\n".join(line.strip() or ".PP" for line in lines)
