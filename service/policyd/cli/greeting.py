"""What `policyd up` prints when it answers: what is where, and lines to paste into another terminal."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from policyd import __version__
from policyd.app import Addresses
from policyd.cli.showing import counted
from policyd.config import Config
from policyd.store.samples import Samples


def greeting(
    addresses: Addresses,
    config: Config,
    samples: Samples,
    *,
    database: str,
    token: Path,
    credential: Path | None,
    options: Sequence[str],
) -> str:
    """The page; every line of it that begins with curl or policyd works as it stands."""
    scheme = "https" if config.lookup.tls_cert else "http"
    lookups = f"{scheme}://{addresses.lookup}"
    policyd = shlex.join([_program(), "sql", *options])
    lines = [
        "",
        f"policyd {__version__} answers at {lookups}, and http://{addresses.admin}/metrics counts",
        "",
        f"  policy    {', '.join(_counts(samples))}",
        f"  database  {database}",
        f"  token     {token}",
        f"  keys      {_keys(config)}",
        *([] if credential is None else [f"  password  {credential}"]),
        "",
        "Ask it, in another terminal:",
        "",
        *(f"  {line}" for line in _questions(lookups, samples, token, credential)),
        "",
        "Change a row, and ask again:",
        "",
        f'  {policyd} "{_change(samples)}"',
        "",
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def _keys(config: Config) -> str:
    root = config.keys["default"]
    return str(root.dir) if root.kind == "files" else f"Vault, {root.mount}/{root.prefix}"


def _program() -> str:
    found = Path(sys.argv[0])
    return str(found.absolute()) if found.name == "policyd" and found.exists() else "policyd"


def _counts(samples: Samples) -> Iterator[str]:
    yield counted(samples.listener_domains, "listener domain")
    yield counted(samples.egress_sources, "source")
    yield counted(samples.egress_pools, "pool")
    yield counted(samples.tenants, "tenant")
    yield counted(samples.queues, "queue domain")
    yield counted(samples.dkim_domains, "DKIM domain")


def _questions(lookups: str, samples: Samples, token: Path, credential: Path | None) -> Iterator[str]:
    domain, pool = samples.listener_domain or "example.com", samples.egress_pool or "default"
    queue, tenant = samples.queue or "gmail.com", samples.tenant or "default"
    curl = f'curl -isS -w "\\n" -H "Authorization: Bearer $(cat {shlex.quote(str(token))})"'
    for path in (
        f"/listener-domain/{quote(domain)}?listener=127.0.0.1:25",
        f"/queue/{quote(queue)}?tenant={quote(tenant)}",
        f"/egress-pool/{quote(pool)}",
        "/queue-settings",
        *_signing(samples),
    ):
        yield f"{curl} {shlex.quote(lookups + path)}"
    if credential is not None:
        yield f"{curl} -d {shlex.quote(f'@{credential}')} {shlex.quote(lookups + '/smtp-auth')}"


def _signing(samples: Samples) -> Iterator[str]:
    if samples.dkim_domain is not None and samples.dkim_selector is not None:
        yield f"/dkim/{quote(samples.dkim_domain)}"
        yield f"/dkim/{quote(samples.dkim_domain)}/{quote(samples.dkim_selector)}"


def _change(samples: Samples) -> str:
    # The tables hold nothing but A-labels here: nothing in it means anything to a shell.
    return (
        "update policy.listener_domain set relay_to = not coalesce(relay_to, false)"  # noqa: S608 - to be pasted
        f" where listener = '*' and domain = '{samples.listener_domain or 'example.com'}'"
    )
