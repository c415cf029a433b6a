"""
policyd's token at Vault: one task gets it, renews it and replaces it; everybody else only waits for it.

A credential that Vault refused is not offered again until it changes: after five bad ones an AppRole locks everybody
out for a quarter of an hour. What may be such a lockout (403) is tried again after a long while; what is certainly a
bad credential (400) is not.
"""

import asyncio
import contextlib
import math
import time
from dataclasses import replace
from typing import Final

from hvac.api.auth_methods import Token

from policyd.config import VaultConfig
from policyd.errors import SecretsUnavailable, VaultUnavailable
from policyd.keys.vault.calls import Calls
from policyd.keys.vault.credential import (
    Credential,
    Grant,
    granted_by_login,
    granted_by_lookup,
    read_credential,
    unknown_life,
)
from policyd.keys.vault.wire import Adapter, Refused
from policyd.observe.events import Observer, VaultCredentialRefused, VaultTokenGranted

_LOOK: Final = 1.0
"""Seconds between two looks: at a file whose content was refused, and at a Vault that was lost."""
_RETRY: Final = 5.0
_IDLE: Final = 60.0
_FIRST_PAUSE: Final = 30.0
_LAST_PAUSE: Final = 900.0
_VOUCHED: Final = 10.0
"""Seconds for which a token that Vault knows is not doubted again because of what it may not read."""


class Session:
    """The token of one Vault. `run` must be running for anybody to get it."""

    def __init__(self, config: VaultConfig, calls: Calls, observe: Observer) -> None:
        self._config = config
        self._calls = calls
        self._observe = observe
        self._grant: Grant | None = None
        self._trouble = ""
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._doubted = False
        self._vouched_until = 0.0
        self._replace_from = 0.0
        self._log_in_from = 0.0
        self._refused = ""
        self._refusals = 0
        self._offer_from = 0.0
        calls.when_lost(self._wanted.set)

    async def token(self) -> str:
        """The token; SecretsUnavailable where there is none and the last attempt to get one failed."""
        while True:
            if self._grant is not None and self._is_good():
                return self._grant.token
            if self._trouble:
                # That Vault was lost was told already; that it does not let policyd in may go on for days.
                raise VaultUnavailable(self._trouble, trouble=None if self._calls.is_lost else "login")
            self._wanted.set()
            await self._news.wait()

    async def replacement(self, refused: str) -> str | None:
        """Another token in place of one that Vault *refused*; None if that is good, and only may not do this."""
        if self._holds(refused) and time.monotonic() >= self._vouched_until:
            self._doubted = True
            self._wanted.set()
            while self._doubted:
                await self._news.wait()
        return None if self._holds(refused) else await self.token()

    async def run(self) -> None:
        """Log in, renew, log in again; ends only when cancelled."""
        while True:
            seconds = await self._tend()
            self._tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _tend(self) -> float:
        """Do what is due, and say in how many seconds to look again. Without a token, say in `_trouble` why."""
        doubted, self._doubted = self._doubted, False
        if self._calls.again_in:
            if not self._is_good():
                self._trouble = self._trouble or "Vault was lost before it granted a token"
            return min(self._calls.again_in, _LOOK)
        if doubted and self._grant is not None:
            await self._settle_doubt(self._grant)
        if self._grant is None or not self._is_good():
            return await self._log_in()
        if time.monotonic() >= self._grant.due:
            return await (self._renew(self._grant) if self._grant.renewable else self._log_in())
        if self._calls.is_lost:
            with contextlib.suppress(Refused, SecretsUnavailable):
                await self._calls.ask("health", Adapter.health, deadline=self._deadline())
        return self._next_look()

    async def _log_in(self) -> float:
        now = time.monotonic()
        if now < self._log_in_from:
            return self._log_in_from - now
        try:
            credential = await asyncio.to_thread(read_credential, self._config)
        except SecretsUnavailable as error:
            self._trouble = str(error)
            return _LOOK
        if credential.fingerprint == self._refused and now < self._offer_from:
            return _LOOK
        try:
            self._grant = await self._granted(credential)
        except Refused as refused:
            return self._refuse(credential, refused)
        except SecretsUnavailable as error:
            self._trouble = str(error)
            return self._pause(_LOOK if self._calls.is_lost else _RETRY)
        self._trouble = self._refused = ""
        self._refusals = 0
        self._tell_expiry(self._grant)
        return self._next_look()

    async def _granted(self, credential: Credential) -> Grant:
        now = time.monotonic()
        try:
            reply = await self._calls.ask(
                "login",
                credential.log_in,
                deadline=self._deadline(),
                token=credential.token,
                repeatable=credential.method != "approle",
            )
        except Refused as refused:
            if credential.is_token and refused.status == 403 and not refused.is_bad_token:
                return unknown_life(credential.token, now=now)
            raise
        if credential.is_token:
            return granted_by_lookup(reply, credential.token, now=now)
        return granted_by_login(reply, now=now)

    def _refuse(self, credential: Credential, refused: Refused) -> float:
        """Remember that *credential* was refused, and until when not to offer it again."""
        if refused.status not in (
            400,
            403,
        ):  # a namespace that is not there, a node that is just stepping down
            self._trouble = f"Vault does not let vault.login = {credential.method} in: {refused}"
            return self._pause(_RETRY)
        certain = refused.status == 400
        again = credential.fingerprint == self._refused
        self._refusals = self._refusals + 1 if again else 1
        pause = math.inf if certain else min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (self._refusals - 1))
        self._refused = credential.fingerprint
        self._offer_from = time.monotonic() + pause
        until = "until it changes" if certain else f"for {pause:g} s, or until it changes"
        self._trouble = (
            f"Vault refused what vault.login = {credential.method} offers ({refused}): not again {until}"
        )
        if credential.is_token and self._holds(credential.token):
            self._grant = None
        self._observe(
            VaultCredentialRefused(
                login=credential.method, reason=str(refused), retry_in=None if certain else pause
            )
        )
        return _LOOK

    async def _renew(self, grant: Grant) -> float:
        now = time.monotonic()
        try:
            reply = await self._calls.ask(
                "renew",
                lambda adapter: Token(adapter).renew_self(increment=int(grant.asked)),
                deadline=self._deadline(),
                token=grant.token,
            )
            renewed = granted_by_login(reply, now=now)
        except Refused as refused:
            if refused.status not in (400, 403):
                return _LOOK
            self._grant = replace(grant, renewable=False)
            return await self._log_in()
        except SecretsUnavailable:
            return _LOOK
        shrinking = renewed.life < grant.asked - 1
        self._grant = replace(renewed, asked=grant.asked, renewable=renewed.renewable and not shrinking)
        self._tell_expiry(self._grant)
        return self._next_look()

    async def _settle_doubt(self, grant: Grant) -> None:
        """Ask Vault whether it still knows the token; forget it if not."""
        now = time.monotonic()
        try:
            await self._calls.ask(
                "lookup",
                lambda adapter: Token(adapter).lookup_self(),
                deadline=self._deadline(),
                token=grant.token,
            )
        except SecretsUnavailable:
            return
        except Refused as refused:
            if refused.is_bad_token:
                self._forget(now)
                return
        self._vouched_until = now + _VOUCHED

    def _forget(self, now: float) -> None:
        self._grant = None
        if now < self._replace_from:
            self._trouble = (
                "Vault refuses the token that it has just granted: is it bound to other addresses?"
            )
            self._log_in_from = self._replace_from
        self._replace_from = now + _FIRST_PAUSE

    def _pause(self, seconds: float) -> float:
        """Log in no sooner than in *seconds*, whoever is waiting for it."""
        self._log_in_from = time.monotonic() + seconds
        return seconds

    def _tell_expiry(self, grant: Grant) -> None:
        ends = None if math.isinf(grant.life) else time.time() + grant.ends - time.monotonic()
        self._observe(VaultTokenGranted(expires_at=ends, renewable=grant.renewable or ends is None))

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _holds(self, token: str) -> bool:
        return self._grant is not None and self._grant.token == token

    def _is_good(self) -> bool:
        return self._grant is not None and time.monotonic() < self._grant.ends

    def _deadline(self) -> float:
        return time.monotonic() + self._config.login_timeout

    def _next_look(self) -> float:
        due = math.inf if self._grant is None else self._grant.due - time.monotonic()
        return max(0.0, min(due, _LOOK if self._calls.is_lost else _IDLE))
