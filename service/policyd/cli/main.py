"""The command `policyd`: its groups, and how errors end."""

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
    "lookup": "asking.lookup",
    "explain": "asking.explain",
    "shaping": "shaping.shaping",
    "nodes": "nodes.nodes",
    "wait": "waiting.wait",
    "drill": "drill.drill",
    "sql": "database.sql",
    "token": "tokens.token",
    "credential": "credentials.credential",
    "migrate": "database.migrate_command",
    "doctor": "doctor.doctor",
    "lua-path": "settings.lua_path",
    "config": "settings.config",
    "version": "settings.version",
}


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
