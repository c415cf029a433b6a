"""`policyd lookup` and `policyd explain`: ask a running service what it answers, and why."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.markup import escape

from policyd.cli.configured import configured
from policyd.cli.connecting import run
from policyd.cli.showing import show_table
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import BackendUnavailable, PolicydError

TOKEN_FILE = "token"  # noqa: S105  (the name of a file)
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_EXPLAINED = """
\b
Explained, and not only looked up:
  /dkim/example.com                            why a domain is signed so, or unsigned
  /dkim/example.com/s1                         where a key is looked for; never the key
  /shaping/gmail.com?source=ip-1&mx=HOST,HOST  which section each limit is from; the MX tells providers
  /smtp-auth/alice?peer=192.0.2.1              why somebody may not log in; never a password
"""


class ServiceUnavailable(BackendUnavailable):
    """The service that was asked does not answer."""

    backend = "policyd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    body: Any


_LATER = (429, 503)
"""What the service says when asking again may help."""
_HINTS = {
    503: "policyd doctor says what is missing; a node goes on with what it knows meanwhile",
    401: "policyd token create NAME makes one; client.token, or a file that POLICYD_CLIENT_TOKEN_FILE names, is what is used",
    403: "policyd token list shows what yours may do; explain needs scope admin",
}


@click.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="The body as it came, for other programs.")
@configured
@click.pass_context
def lookup(context: click.Context, loaded: Loaded, *, path: str, as_json: bool) -> None:
    """
    Ask the service one question, as kumod would: PATH is like /queue/gmail.com?tenant=acme.

    Ends with status 0 when something was found, 1 when nothing is there or the question is refused, 3 when it cannot be
    known at the moment.
    """
    config = loaded.config
    response = run(_get(config.client.url, path, token_of(config), setting="client.url"))
    if response.status not in (200, 404) or "Policy-Position" not in response.headers:
        raise _refused(response)
    if as_json:
        click.echo(json.dumps(response.body, ensure_ascii=False))
    else:
        _show_answer(response)
    context.exit(0 if response.status == 200 else 1)


@click.command(epilog=_EXPLAINED)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="The body as it came, for other programs.")
@configured
def explain(loaded: Loaded, *, path: str, as_json: bool) -> None:
    """
    Show why an answer is what it is: step by step, where each field comes from and what it overrode, and which documents
    were looked for.

    PATH is the lookup's own, like /queue/gmail.com?tenant=acme; more can be explained than looked up.
    The token needs scope admin.
    """
    config = loaded.config
    response = run(
        _get(config.client.admin_url + "/explain", path, token_of(config), setting="client.admin_url")
    )
    if response.status != 200:
        raise _refused(response)
    if as_json:
        click.echo(json.dumps(response.body, ensure_ascii=False))
    else:
        show_explanation(response.body, Console())


def token_of(config: Config) -> str:
    """The configured token, or else the one that `policyd up` made for this machine, if it may be read."""
    if config.client.token:
        return config.client.token
    try:
        return (config.embedded.state / TOKEN_FILE).read_text().strip()
    except OSError:
        return ""


def show_explanation(explained: Mapping[str, Any], console: Console) -> None:
    """Print an explanation as people read it: the fields with their sources, then the documents."""
    console.print(f"[bold]{escape(explained['path'])}[/bold] at {explained['position']}")
    for step in explained["steps"]:
        mark, style = {True: ("✓", "green"), False: ("✗", "yellow"), None: ("·", "dim")}[step["counts"]]
        where = f" [dim]({escape(step['document'])})[/dim]" if step["document"] else ""
        console.print(
            f"[{style}]{mark}[/{style}] {escape(step['says'])}{where}", highlight=False, soft_wrap=True
        )
    if explained["steps"]:
        console.print()
    if not explained["found"]:
        console.print("Nothing is there.")
    rows = [
        (
            each["field"],
            _shown(each["value"]),
            each["from"],
            ", ".join(f"{_shown(lost['value'])} ({lost['from']})" for lost in each["overrode"]),
        )
        for each in explained["fields"]
    ]
    if rows:
        show_table(("field", "value", "from", "overrode"), rows, unbroken=1)
    console.print("\n[bold]looked for, in this order[/bold]")
    for each in explained["looked_for"]:
        mark, style = ("✓", "green") if each["exists"] else ("-", "dim")
        console.print(f"[{style}]{mark} {escape(each['document'])}[/{style}]", highlight=False)


def _show_answer(response: Response) -> None:
    console = Console()
    stale = f", stale for {response.headers['Age']} s" if "Policy-Stale" in response.headers else ""
    console.print(f"[dim]position {response.headers['Policy-Position']}{stale}[/dim]", highlight=False)
    if response.status == 404:
        console.print("Nothing is there.")
    elif isinstance(response.body, str):
        console.print(response.body, markup=False, highlight=False, soft_wrap=True)
        return
    else:
        # A file, like /shaping.json, is the answer itself.
        console.print_json(json.dumps(response.body.get("answer", response.body)))
    for path in response.body.get("with", {}):
        console.print(f"[dim]with {escape(path)}[/dim]", highlight=False)


async def _get(url: str, path: str, token: str, *, setting: str) -> Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
            session.get(url + "/" + path.removeprefix("/")) as response,
        ):
            text = await response.text()
            body = text if response.content_type == "application/toml" else _parse(text)
            return Response(status=response.status, headers=response.headers.copy(), body=body)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"the service at {url} does not answer: {why_not(error)}",
            hint=f"is it running (policyd up, policyd serve)? {setting} says where it is",
        ) from None


def why_not(error: aiohttp.ClientError | TimeoutError) -> str:
    """Why a service does not answer, in the system's words where it has some."""
    if isinstance(error, TimeoutError):
        return "not in time"
    if not isinstance(error, aiohttp.ClientOSError):
        return "what is there does not speak HTTP"
    # For a refused connection the library's own text is the address again, as a tuple.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"detail": "what answered there is not policyd"}


def _refused(response: Response) -> PolicydError:
    body = response.body if isinstance(response.body, dict) else {}
    said = body.get("detail") or body.get("title") or "no reason given"
    error = ServiceUnavailable if response.status in _LATER else PolicydError
    return error(f"status {response.status}: {said}", hint=body.get("hint") or _HINTS.get(response.status))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
