"""The command `policyd`: its groups, and how errors end."""

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence

import click

from policyd import __version__
from policyd.errors import AlreadyRunning, BackendUnavailable, ConfigError, PolicydError

EPILOG = """
\b
Exit statuses:
  0  done
  1  refused: the message says what and why
  2  the command line or the configuration is wrong
  3  PostgreSQL, or whoever else is needed, does not answer: try again later
  4  policyd is running already
  5  done, but not as usual: up to date (shaping pull), nobody to wait for (wait), differences (diff)
  6  not yet: the time to wait is over (policyd wait)
  7  the drill was not passed (policyd drill)
"""


# In the order of a day's work. A module is imported when its command is run: `policyd sql` needs no HTTP server.
COMMANDS: Mapping[str, str] = {
    "up": "serve.up",
    "serve": "serve.serve",
    "import": "transfer.import_files",
    "export": "exporting.export",
    "diff": "applying.diff",
    "apply": "applying.apply",
    "validate": "validating.validate_command",
    "lookup": "asking.lookup",
    "explain": "asking.explain",
    "shaping": "shaping.shaping",
    "nodes": "nodes.nodes",
    "wait": "waiting.wait",
    "drill": "drill.drill",
    "history": "history.history",
    "show": "history.show",
    "revert": "reverting.revert",
    "at": "past.at",
    "whatif": "whatif.whatif",
    "sql": "database.sql",
    "token": "tokens.token",
    "credential": "credentials.credential",
    "migrate": "database.migrate_command",
    "doctor": "doctor.doctor",
    "lua-path": "settings.lua_path",
    "completion": "completion.completion",
    "config": "settings.config",
    "version": "settings.version",
}

SECTIONS: Mapping[str, Sequence[str]] = {
    "Run it": ("up", "serve", "migrate", "doctor", "config"),
    "Ask it": ("lookup", "explain", "nodes", "wait", "drill"),
    "Change policy": ("sql", "import", "export", "diff", "apply", "validate", "whatif"),
    "Look back": ("history", "show", "at", "revert"),
    "Let somebody in": ("token", "credential"),
    "On a node": ("shaping", "lua-path"),
}
"""How `policyd --help` is divided; what is in none of these is shown last."""


class Commands(click.Group):
    """The commands by name, each from its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(importlib.import_module(f"policyd.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean {close[0]}?" if close else " See policyd --help."
            raise click.UsageError(f"There is no command {args[0]}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = {name for names in SECTIONS.values() for name in names}
        rest = [name for name in COMMANDS if name not in named]
        for title, names in (*SECTIONS.items(), ("More", rest)):
            found = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, command.get_short_help_str(70)) for name, command in found if command is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="policyd %(version)s")
def policyd() -> None:
    """Live policy for KumoMTA: rows in PostgreSQL, answers over HTTP, no reload."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit; an expected error is a sentence on standard error, never a traceback."""
    try:
        status = policyd.main(args=arguments, prog_name="policyd", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except PolicydError as error:
        click.echo(told(error), err=True)
        sys.exit(status_of(error))
    except BrokenPipeError:
        # Whoever read us, `head` for example, has seen enough. Python would complain about it once more at exit.
        sys.stderr.close()
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)


def told(error: PolicydError) -> str:
    """The error for a person: what is wrong, and what to do next."""
    lines = [f"policyd: {error}"]
    if error.hint:
        lines.append(f"  next: {error.hint}")
    return "\n".join(lines)


def status_of(error: PolicydError) -> int:
    """Exit status for an error."""
    match error:
        case ConfigError():
            return 2
        case BackendUnavailable():
            return 3
        case AlreadyRunning():
            return 4
        case _:
            return 1
