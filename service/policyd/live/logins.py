"""
Who may log in: a password is checked once, and remembered until its credential changes.

What is remembered is answered before anything is counted or checked, so that whoever logged in before is not touched
by a flood of wrong passwords, nor by an outage. An outage, a limit or a full queue is never answered with "no": that
would be a permanent error to a customer who typed everything right.
"""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from policyd.config import Config
from policyd.errors import DatabaseUnavailable, Overloaded, PolicydError, TooManyFailures
from policyd.live.failures import FailureLimits
from policyd.live.feed import Feed
from policyd.live.lookups import Lookups
from policyd.live.password_checks import PasswordChecks
from policyd.observe.events import AuthAttempted, AuthLimited, AuthOutcome, Observer
from policyd.passwords import NOBODYS
from policyd.policy import credential
from policyd.policy.credential import Attempt, Credential
from policyd.policy.position import Position
from policyd.policy.validity import KnownChanges, is_valid

_ROUNDS = 5
"""How often an attempt is begun again because its credential keeps changing under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What became of an attempt: on whose behalf, or None; as of when, and how old where nobody can vouch for it."""

    credential: Credential | None
    tags: tuple[str, ...]
    position: Position
    outcome: AuthOutcome
    stale_for: float | None = None


@dataclass(slots=True, kw_only=True)
class _Checked:
    """A password that was checked, and what is needed to see whether that still counts."""

    credential: Credential | None
    is_right: bool
    tags: tuple[str, ...]
    label: int
    history: int


class Logins:
    """Judges attempts to log in."""

    def __init__(
        self,
        lookups: Lookups,
        feed: Feed,
        *,
        checks: PasswordChecks,
        limits: FailureLimits,
        config: Config,
        observe: Observer,
    ) -> None:
        self._lookups = lookups
        self._feed = feed
        self._checks = checks
        self._limits = limits
        self._config = config
        self._observe = observe
        # Of this process alone, and nowhere written: what is remembered is of no use to whoever may read it.
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, _Checked] = OrderedDict()
        self._flights: dict[bytes, asyncio.Future[_Checked]] = {}

    async def attempt(self, attempt: Attempt) -> Login:
        """
        What becomes of *attempt*.

        Raises TooManyFailures, Overloaded and DatabaseUnavailable where that cannot be told now.
        """
        outcome: AuthOutcome = "unavailable"
        try:
            login = await self._log_in(attempt)
            outcome = login.outcome
            return login
        except TooManyFailures:
            outcome = "limited"
            self._observe(AuthLimited(network=str(attempt.network)))
            raise
        except Overloaded:
            outcome = "overloaded"
            raise
        finally:
            self._observe(AuthAttempted(outcome=outcome))

    async def _log_in(self, attempt: Attempt) -> Login:
        if not attempt.is_possible:
            return self._refused("impossible", ())
        digest = self._digest(attempt)
        for _ in range(_ROUNDS):
            checked = self._remembered(digest, attempt)
            if checked is not None:
                return self._judged(checked, attempt, right="remembered")
            if not self._feed.current:
                raise _unknown()
            checked = await self._check(digest, attempt)
            if self._holds(checked):
                return self._judged(checked, attempt, right="verified")
        raise DatabaseUnavailable("this credential changes faster than it can be checked")

    def _remembered(self, digest: bytes, attempt: Attempt) -> _Checked | None:
        """A right password, for whoever may log in with it: a refusal always takes as long as that of a wrong one."""
        checked = self._right.get(digest)
        if checked is None:
            return None
        if not self._holds(checked):
            del self._right[digest]
            return None
        if not _is_admitted(checked, attempt):
            return None
        if not self._feed.current and self._feed.age > self._config.cache.max_stale:
            return None
        self._right.move_to_end(digest)
        return checked

    def _holds(self, checked: _Checked) -> bool:
        """Whether nothing has happened since that makes it worthless: the one rule, as for every answer."""
        known = self._feed.known
        if known is None or checked.history != self._feed.history:
            return False
        if not is_valid(checked.label, checked.tags, known):
            return False
        checked.label = known.position.number
        return True

    def _judged(self, checked: _Checked, attempt: Attempt, *, right: AuthOutcome) -> Login:
        if checked.credential is None:
            return self._refused("unknown", checked.tags)
        if not checked.is_right:
            return self._refused("wrong", checked.tags)
        refusal = checked.credential.refusal(attempt.peer, time.time())
        if refusal is not None:
            return self._refused(refusal, checked.tags)
        is_current = self._feed.current
        return Login(
            credential=checked.credential,
            tags=checked.tags,
            position=self._known().position,
            outcome=right if is_current else "stale",
            stale_for=None if is_current else self._feed.age,
        )

    def _refused(self, outcome: AuthOutcome, tags: tuple[str, ...]) -> Login:
        if not self._feed.current:
            raise _unknown()
        return Login(credential=None, tags=tags, position=self._known().position, outcome=outcome)

    async def _check(self, digest: bytes, attempt: Attempt) -> _Checked:
        """Check the password for this attempt and for all with the same one meanwhile, and remember it if it is right."""
        flight = self._flights.get(digest)
        if flight is not None:
            return await asyncio.shield(flight)
        flight = self._flights[digest] = asyncio.get_running_loop().create_future()
        try:
            checked = await self._read_and_check(attempt)
        except BaseException as error:
            told = error if isinstance(error, PolicydError) else DatabaseUnavailable("it was given up")
            flight.set_exception(told)
            flight.exception()  # nobody else may be waiting for it
            raise
        else:
            flight.set_result(checked)
            if _is_admitted(checked, attempt):
                self._remember(digest, checked)
            return checked
        finally:
            del self._flights[digest]

    async def _read_and_check(self, attempt: Attempt) -> _Checked:
        charged = self._limits.charge(attempt)
        try:
            history = self._feed.history
            resolved = await self._lookups.resolve_in_time(lambda: credential.resolve(attempt.username))
            found, password_hash = credential.credential_of(resolved.resolution) or (None, NOBODYS)
            is_right = await self._checks.check(attempt.network, password_hash, attempt.password)
        except BaseException:
            self._limits.refund(charged)
            raise
        checked = _Checked(
            credential=found,
            is_right=is_right,
            tags=resolved.tags,
            label=resolved.position.number,
            history=history,
        )
        if _is_admitted(checked, attempt):
            self._limits.refund(charged)
        return checked

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        self._right[digest] = checked
        while len(self._right) > self._config.auth.remembered:
            self._right.popitem(last=False)

    def _digest(self, attempt: Attempt) -> bytes:
        return hmac.digest(self._key, f"{attempt.username}\0{attempt.password}".encode(), "sha256")

    def _known(self) -> KnownChanges:
        if self._feed.known is None:
            raise _unknown()
        return self._feed.known


def _is_admitted(checked: _Checked, attempt: Attempt) -> bool:
    found = checked.credential
    return found is not None and checked.is_right and found.refusal(attempt.peer, time.time()) is None


def _unknown() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "whether this login is right is not known here, and PostgreSQL cannot be asked at the moment"
    )
