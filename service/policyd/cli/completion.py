"""`policyd completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

_WHERE_TO = """
\b
bash  policyd completion bash > /etc/bash_completion.d/policyd  (needs the package bash-completion)
zsh   policyd completion zsh > "${fpath[1]}/_policyd"
fish  policyd completion fish > ~/.config/fish/completions/policyd.fish
"""
SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion", epilog=_WHERE_TO, short_help="Print what bash, zsh or fish needs to complete commands."
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what SHELL needs to complete commands and options."""
    found = get_completion_class(shell)
    if found is None:  # click knows all three
        raise click.BadParameter(f"one of {', '.join(SHELLS)}", param_hint="SHELL")
    click.echo(found(context.find_root().command, {}, "policyd", "_POLICYD_COMPLETE").source())
