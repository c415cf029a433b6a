"""The command `policyd`: its groups, and how errors end."""

import sys
from collections.abc import Sequence

import click

from policyd import __version__
from policyd.cli import asking, database, serve, settings, tokens, transfer
from policyd.errors import AlreadyRunning, BackendUnavailable, ConfigError, PolicydError

EPILOG = """
\b
Exit statuses:
  0  done
  1  refused: the message says what and why
  2  the command line or the configuration is wrong
  3  PostgreSQL, or whoever else is needed, does not answer: try again later
  4  policyd is running already
"""


@click.group(
    epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="policyd %(version)s")
def policyd() -> None:
    """Live policy for KumoMTA: rows in PostgreSQL, answers over HTTP, no reload."""


for group in (serve, transfer, asking, database, tokens, settings):
    for command in group.COMMANDS:
        policyd.add_command(command)


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
