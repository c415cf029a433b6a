"""
Private keys as lookups need them: sighted for a plan, held in memory for who fetches them, never another than was asked for.

What is at a place is told by the database (`dkim_key_seen`), so that all replicas and nodes speak of one key, and a key
that was replaced outside policyd becomes one change, whoever sees it first.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from policyd.config import DkimConfig
from policyd.errors import KeyGone, KeyInvalid, SecretsUnavailable
from policyd.keys import KeyName, PrivateKey
from policyd.observe.events import KeyChanged, KeyUnusable, Observer
from policyd.policy.asking import Json
from policyd.policy.dkim import MISSING, UNUSABLE, Place
from policyd.policy.resolving import Documents

ALGORITHMS: Final = {"rsa-sha256": "sha256", "ed25519-sha256": "ed25519"}
"""What KumoMTA's helper calls the algorithms of keys."""

_PROBLEM_FOR: Final = 3.0
"""Seconds for which a place without a usable key is not looked at again, however many lookups want it."""
_MOST_PROBLEMS: Final = 10_000
_LOOK_TWICE_AFTER: Final = 0.05
"""Seconds after which another key than the known one must be there still: a standby of Vault lags by some milliseconds."""

Read: TypeAlias = Callable[[KeyName], Awaitable[PrivateKey | None]]
"""The key at a name, read now; None where there is none. Raises KeyInvalid, SecretsUnavailable."""
Note: TypeAlias = Callable[[Place, str, str, str | None], Awaitable[Mapping[str, str]]]
"""Notes a key_id and algorithm at a place, given the key_id known before; what is known then. Raises DatabaseUnavailable."""
Known: TypeAlias = Callable[[Place], Awaitable[str | None]]
"""The key_id known at a place. Raises DatabaseUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A key, where it was found, and when that was (by `time.monotonic`)."""

    place: Place
    key: PrivateKey = field(repr=False)
    read_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """Where keys are read, and where they are noted."""

    read: Read
    note: Note
    known: Known


class Keyring:
    """The keys that this replica has seen lately, at most *config.cached_keys* of them."""

    def __init__(self, backends: Backends, config: DkimConfig, *, deadline: float, observe: Observer) -> None:
        self._backends = backends
        self._config = config
        self._deadline = deadline
        self._observe = observe
        self._held: OrderedDict[tuple[Place, str], Held] = OrderedDict()
        self._latest: dict[Place, str] = {}
        self._problems: dict[Place, tuple[str, float]] = {}
        self._sights: dict[Place, asyncio.Task[Mapping[str, Json]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def see(self, tags: Iterable[str]) -> Documents:
        """
        What stands for documents of keys that nobody has seen yet: the key is read and noted, or its problem told.

        Raises SecretsUnavailable where that cannot be known, DatabaseUnavailable where it cannot be noted.
        """
        sights = {tag: self._sight(Place.of(tag)) for tag in tags}
        try:
            async with asyncio.timeout(self._deadline):
                seen = await asyncio.gather(*(asyncio.shield(sight) for sight in sights.values()))
        except TimeoutError:
            raise SecretsUnavailable(
                f"private keys were not read within {self._deadline:g} s", trouble="timeout"
            ) from None
        return dict(zip(sights, seen, strict=True))

    async def key(self, places: Sequence[Place], key_id: str | None) -> Held | None:
        """
        The key that is at one of *places*, the first that has one; with *key_id* that very key.

        None where certainly no place has one. With *key_id* KeyGone is raised instead; KeyInvalid where a key cannot be
        used, SecretsUnavailable where it cannot be known.
        """
        if key_id is not None:
            for place in places:
                held = self.held(place, key_id)
                if held is not None:
                    return held
        others: list[Held] = []
        trouble: KeyInvalid | SecretsUnavailable | None = None
        for place in places:
            try:
                held = await self.read(place)
            except (KeyInvalid, SecretsUnavailable) as error:
                if key_id is None:
                    raise
                trouble = error if trouble is None or isinstance(error, SecretsUnavailable) else trouble
                continue
            if held is not None and key_id in (None, held.key.key_id):
                return held
            if held is not None:
                others.append(held)
        for other in others:
            again = await self._look_twice(other)
            if again is not None and again.key.key_id == key_id:
                return again
        if trouble is not None:
            raise trouble
        if key_id is not None:
            raise KeyGone(key=" or ".join(f"{place.root}:{place.name}" for place in places))
        return None

    def held(self, place: Place, key_id: str) -> Held | None:
        """The key in memory, if that very one was read at the place."""
        held = self._held.get((place, key_id))
        if held is not None:
            self._held.move_to_end((place, key_id))
        return held

    def latest(self, place: Place) -> Held | None:
        """The key in memory that was read at the place last."""
        key_id = self._latest.get(place)
        return None if key_id is None else self.held(place, key_id)

    async def read(self, place: Place) -> Held | None:
        """The key at a place, read now and kept in memory; None where there is none."""
        key = await self._backends.read(KeyName(root=place.root, name=place.name))
        if key is None:
            return None
        held = Held(place=place, key=key, read_at=time.monotonic())
        self._keep(held)
        return held

    async def look_at(self, place: Place, known: str) -> None:
        """Look whether the known key is at the place still; another one that stays there becomes a change."""
        try:
            held = await self.read(place)
        except KeyInvalid as error:
            self._observe(KeyUnusable(root=place.root, name=place.name, reason=str(error)))
            return
        if held is None:
            self._observe(KeyUnusable(root=place.root, name=place.name, reason="it is gone"))
        elif held.key.key_id != known:
            await self._look_twice(held)

    async def look_again_at(self, place: Place) -> None:
        """`look_at`, whatever is known there now."""
        known = await self._backends.known(place)
        if known is not None:
            await self.look_at(place, known)

    async def _look_twice(self, found: Held) -> Held | None:
        """The key at the place a moment later; if it is the same again and not the known one, that is a change."""
        await asyncio.sleep(_LOOK_TWICE_AFTER)
        try:
            again = await self.read(found.place)
        except (KeyInvalid, SecretsUnavailable):
            return None
        if again is not None and again.key.key_id == found.key.key_id:
            known = await self._backends.known(found.place)
            if known != again.key.key_id:
                await self._note(again, known)
        return again

    def _sight(self, place: Place) -> "asyncio.Task[Mapping[str, Json]]":
        task = self._sights.get(place)
        if task is None:
            task = self._sights[place] = asyncio.ensure_future(self._first_sight(place))
            task.add_done_callback(lambda done: self._landed(place, done))
        return task

    def _landed(self, place: Place, done: "asyncio.Task[Mapping[str, Json]]") -> None:
        del self._sights[place]
        if not done.cancelled():
            done.exception()  # it may be that nobody waits any more

    async def _first_sight(self, place: Place) -> Mapping[str, Json]:
        problem, until = self._problems.get(place, ("", 0.0))
        if time.monotonic() < until:
            return {"problem": problem}
        try:
            held = await self.read(place)
        except KeyInvalid as error:
            return self._problem(place, UNUSABLE, str(error))
        if held is None:
            return self._problem(place, MISSING, "there is none")
        return await self._note(held, None)

    def _problem(self, place: Place, problem: str, reason: str) -> Mapping[str, Json]:
        if len(self._problems) >= _MOST_PROBLEMS:
            self._problems.clear()
        self._problems[place] = problem, time.monotonic() + _PROBLEM_FOR
        self._observe(KeyUnusable(root=place.root, name=place.name, reason=reason))
        return {"problem": problem}

    async def _note(self, held: Held, known: str | None) -> Mapping[str, str]:
        algorithm = ALGORITHMS[held.key.algorithm]
        noted = await self._backends.note(held.place, held.key.key_id, algorithm, known)
        self._problems.pop(held.place, None)
        if known is not None and noted["key_id"] == held.key.key_id:
            self._observe(
                KeyChanged(root=held.place.root, name=held.place.name, before=known, key_id=held.key.key_id)
            )
        return noted

    def _keep(self, held: Held) -> None:
        at = (held.place, held.key.key_id)
        self._held[at] = held
        self._held.move_to_end(at)
        self._latest[held.place] = held.key.key_id
        while len(self._held) > self._config.cached_keys:
            (place, key_id), _ = self._held.popitem(last=False)
            if self._latest.get(place) == key_id:
                del self._latest[place]
