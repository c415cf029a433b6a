"""The command as a whole: its help, typing errors, and what a shell is told."""

import pytest
from click.testing import CliRunner

from policyd.cli.main import COMMANDS, SECTIONS, policyd


def test_help_shows_every_command_once_and_under_a_heading():
    shown = CliRunner().invoke(policyd, ["--help"], terminal_width=100).output
    for name in COMMANDS:
        assert sum(line.split()[:1] == [name] for line in shown.splitlines()) == 1, name
    for title, names in SECTIONS.items():
        assert not set(names) & set(COMMANDS) or f"\n{title}:\n" in shown


@pytest.mark.parametrize(
    ("typed", "said"), [("lokup", "Did you mean lookup?"), ("frobnicate", "See policyd --help.")]
)
def test_a_typing_error_is_told_with_the_nearest_command(typed, said):
    done = CliRunner().invoke(policyd, [typed])
    assert done.exit_code == 2
    assert f"There is no command {typed}. {said}" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_a_script_that_asks_policyd(shell):
    done = CliRunner().invoke(policyd, ["completion", shell])
    assert done.exit_code == 0
    assert "_POLICYD_COMPLETE" in done.output
