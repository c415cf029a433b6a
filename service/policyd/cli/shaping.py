"""`policyd shaping`: the file of shaping on a host that has no client of ours, such as one of the TSA daemon."""

import hashlib
import time
from pathlib import Path

import aiohttp
import click

from policyd.cli.asking import ServiceUnavailable, token_of, why_not
from policyd.cli.configured import configured
from policyd.cli.connecting import run
from policyd.cli.terminal import end_with_the_terminal
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.operate.shaping_file import check_shaping, replace_shaping
from policyd.units import Seconds, parse_duration

UNCHANGED = 5
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_SUFFIXES = (".json", ".toml")


@click.group()
def shaping() -> None:
    """Shaping as a file, for hosts that read one."""


@shaping.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--url", metavar="URL", help="The service; by default client.url.")
@click.option(
    "--every", metavar="DURATION", help="Go on pulling, at this interval, instead of once: 30s, 5m."
)
@configured
@click.pass_context
def pull(context: click.Context, loaded: Loaded, *, path: Path, url: str | None, every: str | None) -> None:
    """
    Bring FILE up to date with the service: JSON or TOML, by its ending.

    What comes is checked and takes the file's place at once. Whatever goes wrong, the file that is there stays. Ends
    with status 0 when the file is another one now, 5 when it was up to date, 1 when what came is not taken, 3 when the
    service does not answer. Whether every option is one that kumod takes is for kumod to say, when it loads the file.
    """
    if path.suffix not in _SUFFIXES:
        raise click.BadParameter("its ending says what it is: .json or .toml", param_hint="FILE")
    source = (url or loaded.config.client.url).rstrip("/") + f"/shaping{path.suffix}"
    token = token_of(loaded.config)
    interval = None if every is None else _interval(every)
    if interval is not None:
        end_with_the_terminal()
    while interval is not None:
        _pull_whatever_happens(source, token, path)
        time.sleep(interval)
    is_new = _pull(source, token, path)
    click.echo(f"{path}: {'new' if is_new else 'up to date'}")
    context.exit(0 if is_new else UNCHANGED)


def _pull_whatever_happens(url: str, token: str, path: Path) -> None:
    try:
        if _pull(url, token, path):
            click.echo(f"{path}: new")
    except PolicydError as error:
        click.echo(f"policyd: {error}", err=True)


def _pull(url: str, token: str, path: Path) -> bool:
    """Whether the file is another one now. Raises PolicydError, and has then left the file alone."""
    try:
        have = path.read_bytes() if path.exists() else None
        data = run(_get(url, token, have))
        if data is None:
            return False
        check_shaping(path.name, data)
        return replace_shaping(path, data)
    except OSError as error:
        raise PolicydError(f"{path} cannot be written: {error.strerror or error}") from None


async def _get(url: str, token: str, have: bytes | None) -> bytes | None:
    """The service's file, None where it is the one that is had. Its ETag is the digest of what it says."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if have is not None:
        headers["If-None-Match"] = f'"{hashlib.sha256(have).hexdigest()}"'
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            data = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"{url} does not answer: {why_not(error)}", hint="--url or client.url says where it is"
        ) from None
    is_answer = response.status in (200, 304)
    if response.status >= 500 or (is_answer and "Policy-Position" not in response.headers):
        raise ServiceUnavailable(f"{url} answers status {response.status}, and not as policyd does")
    if response.status == 304:
        return None
    if not is_answer:
        raise PolicydError(f"{url} answers status {response.status}", hint="is client.token right?")
    if "Policy-Stale" in response.headers and have is not None:
        raise ServiceUnavailable(f"{url} cannot tell at the moment whether what it knows still holds")
    return data


def _interval(written: str) -> Seconds:
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--every") from None
    if seconds < 1:
        raise click.BadParameter("at least 1s", param_hint="--every")
    return seconds
