"""Documents from the database, and in place of keys that nobody has seen yet, what is seen of them now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from policyd.live.batch import Fetches
from policyd.live.keyring import Keyring
from policyd.policy.dkim import KEY
from policyd.policy.position import Position
from policyd.policy.resolving import Documents

_KEYS: Final = f"{KEY}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Fetches as *batch* does, with keys read by *keyring* where the database knows none."""

    batch: Fetches
    keyring: Keyring

    async def fetch(self, tags: Sequence[str]) -> tuple[Position, Documents]:
        """The documents that exist among *tags*. Raises as both do; SecretsUnavailable where a key cannot be read."""
        position, documents = await self.batch.fetch(tags)
        unseen = [tag for tag in tags if tag.startswith(_KEYS) and tag not in documents]
        if not unseen:
            return position, documents
        sighted = await self.keyring.see(unseen)
        return position, {tag: documents[tag] for tag in tags if tag in documents} | dict(sighted)
