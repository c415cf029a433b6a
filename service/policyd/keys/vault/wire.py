"""
One question to Vault as hvac asks it: address after address, until a deadline, following nobody out of the cluster.

Everything here blocks and runs in a thread. What comes back is a `Reply`; `Refused` is Vault's own no, and
`Unreachable` says that nobody gave an answer that counts.
"""

import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import requests
import urllib3
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from policyd.config import VaultConfig
from policyd.errors import ConfigError, Trouble

_LARGEST_BODY: Final = 2**20
_MOST_REDIRECTS: Final = 2
_ELSEWHERE: Final = (472, 501, 502, 503, 504)
"""A disaster-recovery secondary, not initialised, sealed, or a proxy's word for it: another node may know better."""
_DENIAL: Final = ["1", "error", "occurred:", "*", "permission", "denied"]
_LOOPBACK: Final = ("localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What Vault answered; its body may hold secrets."""

    status: int
    body: Mapping[str, Any] = field(repr=False)


class Refused(Exception):
    """Vault answered, and not with what was asked for. *errors* are its own words; *body* may hold more."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        errors = body.get("errors")
        self.status = status
        self.body = body
        self.errors = tuple(str(each)[:200] for each in errors) if isinstance(errors, list) else ()
        super().__init__(f"{status} {' '.join(' '.join(self.errors).split())}".rstrip())

    @property
    def is_bad_token(self) -> bool:
        """Whether the token itself is refused: what a good token may not do is worded differently."""
        return self.status == 403 and " ".join(self.errors).split() != _DENIAL


class Unreachable(Exception):
    """No address gave an answer that counts; says why, for each, and in a word for the last of them."""

    def __init__(self, reason: str, *, trouble: Trouble) -> None:
        super().__init__(reason)
        self.trouble = trouble


class _Failed(Exception):
    """One address gave no answer that counts. *sent*: it may have acted on the question nevertheless."""

    def __init__(self, reason: str, trouble: Trouble, *, sent: bool, dropped: bool = False) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.sent = sent
        self.dropped = dropped


class Adapter(RawAdapter):  # type: ignore[misc]  # hvac has no types
    """What hvac's API classes ask through: one address, one token, one deadline."""

    def __init__(self, wire: "Wire", *, address: str, token: str, deadline: float) -> None:
        super().__init__(
            base_uri=address,
            token=token,
            session=wire.session,
            namespace=wire.namespace,
            allow_redirects=False,
        )
        self._wire = wire
        self._deadline = deadline

    def request(self, method: str, url: str, headers: Any = None, **kwargs: Any) -> Reply:
        """Vault's reply; a redirect is followed to another address of the configuration, and nowhere else."""
        for _ in range(_MOST_REDIRECTS + 1):
            status, location, content = self._exchange(method, url, headers, **kwargs)
            if status not in (301, 302, 307, 308):
                return _reply(status, content)
            self.base_uri = self._wire.target(location, url)
        raise _Failed("redirects in circles", "nonsense", sent=True)

    def health(self) -> Reply:
        """`sys/health`, which refuses a request that names a namespace."""
        self.namespace = ""
        return self.request("get", "/v1/sys/health")

    def _exchange(self, method: str, url: str, headers: Any, **kwargs: Any) -> tuple[int, str, bytes]:
        failure: _Failed
        kwargs |= {"raise_exception": False, "timeout": _left(self._deadline), "stream": True}
        try:
            response = super().request(method, url, headers, **kwargs)
            with response:
                location = response.headers.get("Location", "")
                return response.status_code, location, b"".join(_chunks(response, self._deadline))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failure = _failure(error)
        raise failure  # out here, so that the library's error, which holds the request, is not carried along


Question: TypeAlias = Callable[[Adapter], Any]


class Wire:
    """Connections to the addresses of one Vault."""

    def __init__(self, config: VaultConfig) -> None:
        self.namespace = config.namespace
        self.session = _session(config)
        self._addresses = parse_addresses(config)
        self._preferred = self._addresses[0]

    def ask(self, question: Question, *, token: str, deadline: float, repeatable: bool) -> Reply:
        """
        The reply to *question* of the first address that has one.

        What is not *repeatable*, because it may use up a credential, goes on to the next address only while it cannot
        have been acted upon.
        """
        waiting = deque(sorted(self._addresses, key=lambda address: address != self._preferred))
        reasons: list[str] = []
        trouble: Trouble = "unreachable"
        redialled = False
        while waiting:
            address = waiting.popleft()
            adapter = Adapter(self, address=address, token=token, deadline=deadline)
            try:
                reply: Reply = question(adapter)
            except _Failed as failed:
                reasons.append(f"{address} {failed}")
                trouble = failed.trouble
                if failed.sent and not repeatable:
                    break
                if (
                    failed.dropped and not redialled
                ):  # a kept connection that was closed meanwhile says nothing
                    redialled = True
                    waiting.appendleft(address)
            except Refused as refused:
                if refused.status not in _ELSEWHERE or not waiting:
                    raise
                reasons.append(f"{address} {refused}")
            else:
                self._preferred = address
                return reply
        raise Unreachable("; ".join(dict.fromkeys(reasons)), trouble=trouble)

    def target(self, location: str, url: str) -> str:
        """The configured address that *location* leads to, if it does not lead astray."""
        for address in self._addresses:
            if _same(location, Adapter.urljoin(address, url)):
                return address
        raise _Failed(
            f"redirects to {_shown(location)}, which vault.address does not name", "nonsense", sent=False
        )

    def close(self) -> None:
        """Close idle connections; a question under way ends at its deadline."""
        self.session.close()


def parse_addresses(config: VaultConfig) -> tuple[str, ...]:
    """Every address of `vault.address`; ConfigError for what is no address, or would send keys in the clear."""
    addresses = tuple(each.strip().rstrip("/") for each in config.address.split(",") if each.strip())
    if not addresses:
        raise ConfigError(
            "vault.address is not set, and a key root is in Vault", hint="set it, or VAULT_ADDR"
        )
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"vault.address: {_shown(address)} is not like https://vault.example:8200")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("vault.address holds a user name or a password, which Vault does not know")
        loopback = parts.hostname in _LOOPBACK or parts.hostname.startswith("127.")
        if parts.scheme == "http" and not loopback and not config.allow_plaintext_secrets:
            raise ConfigError(
                f"vault.address: private keys would cross the network in the clear from {_shown(address)}",
                hint="use https, or set vault.allow_plaintext_secrets = true",
            )
    return addresses


def _session(config: VaultConfig) -> requests.Session:
    session = requests.Session()
    # Neither proxies, .netrc nor a CA bundle of the environment: and a fifth of the time of every read.
    session.trust_env = False
    session.verify = str(config.ca_file) if config.ca_file else True
    if config.client_cert is not None:
        session.cert = (str(config.client_cert), str(config.client_key or config.client_cert))
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "policyd"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=config.connections))
    return session


def _reply(status: int, content: bytes) -> Reply:
    try:
        body = json.loads(content) if content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict) or (not content and status != 204):
        raise _Failed(f"answers {status} with something that is not Vault's", "nonsense", sent=True)
    if status >= 300:
        raise Refused(status, body)
    return Reply(status=status, body=body)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _Failed("did not answer in time", "timeout", sent=False)
    return left


def _chunks(response: requests.Response, deadline: float) -> Iterator[bytes]:
    """The body as it arrives, so that one that trickles ends at the deadline, too."""
    size = 0
    while chunk := response.raw.read1(65_536):
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise _Failed(f"answers with more than {_LARGEST_BODY} bytes", "nonsense", sent=True)
        if time.monotonic() > deadline:
            raise _Failed("did not answer in time", "timeout", sent=True)
        yield chunk


def _failure(error: Exception) -> _Failed:
    """What went wrong, without what was sent: the library's errors carry the request with its token."""
    chain = list(_causes(error))
    timeout = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    dropped = any(isinstance(each, urllib3.exceptions.ProtocolError) for each in chain)
    if isinstance(error, requests.exceptions.SSLError):
        said = [each.verify_message for each in chain if isinstance(each, ssl.SSLCertVerificationError)]
        why = f": {said[0]}" if said else ""
        said_so = f"has a TLS certificate that is not accepted{why} (vault.ca_file)"
        return _Failed(said_so, "certificate", sent=False)
    # urllib3 counts a refused connection among the timeouts.
    if any(isinstance(each, timeout) and not isinstance(each, NewConnectionError) for each in chain):
        is_sent = not isinstance(error, requests.ConnectTimeout)
        return _Failed("did not answer in time", "timeout", sent=is_sent)
    said = [each.strerror for each in chain if isinstance(each, OSError) and each.strerror]
    reason = said[0] if said else "closed the connection" if dropped else type(error).__name__
    return _Failed(f"cannot be reached: {reason}", "unreachable", sent=dropped, dropped=dropped)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error*, and what it was made of, however the libraries wrapped it."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (*each.args, each.__cause__, each.__context__, getattr(each, "reason", None))
        waiting.extend(other for other in reversed(inner) if isinstance(other, BaseException))


def _same(url: str, other: str) -> bool:
    ours, theirs = urlsplit(url), urlsplit(other)
    try:
        ports = [part.port or {"http": 80, "https": 443}.get(part.scheme) for part in (ours, theirs)]
    except ValueError:
        return False
    return (
        ours.username is None
        and ports[0] == ports[1]
        and (ours.scheme, ours.hostname, ours.path, ours.query)
        == (theirs.scheme, theirs.hostname, theirs.path, theirs.query)
    )


def _shown(url: str) -> str:
    """Scheme and host of *url*: what else stands in it may be anything."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:120] if parts.netloc else "another path"
