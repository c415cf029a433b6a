"""Handler of private keys: one key to who may have it, kept by nobody in between."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from policyd.api.answering import labels, only
from policyd.api.asked import Asked
from policyd.errors import Forbidden, LookupInvalid, SecretsUnavailable
from policyd.live.keyring import ALGORITHMS, Held, Keyring
from policyd.live.lookups import Lookups, Served
from policyd.observe.events import KeySent, Observer
from policyd.policy.dkim import Place, places_lookup, read_key_path

PEM: Final = "application/x-pem-file"
_KEY_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAnswers:
    """Where keys are found, and who is told that one was sent."""

    lookups: Lookups
    keyring: Keyring
    observe: Observer

    async def key(self, asked: Asked) -> web.StreamResponse:
        """200 with the key, or 404 where there is none; with a key_id that very key, or a problem."""
        domain, selector = read_key_path(asked.target.segments[1], asked.target.segments[2])
        key_id = _key_id(only(asked.target.query, {"key_id"}).get("key_id"))
        if not asked.bearer.grant.admits_domain(domain):
            raise Forbidden(token=asked.bearer.grant.name, needed=f"a token that is good for domain {domain}")
        served = await self.lookups.answer(places_lookup(domain, selector))
        places = [Place(root=root, name=name) for root, name in _answer(served)["places"]]
        began = time.monotonic()
        held, stale_for = await self._find(places, key_id)
        if stale_for is None:
            stale_for = served.stale_for
        headers = labels(served.position, stale_for) | {"Cache-Control": "no-store"}
        if held is None:
            body = orjson.dumps({"tags": _tags(served, places)})
            return web.Response(status=404, body=body, content_type="application/json", headers=headers)
        found = "stale" if stale_for is not None else "memory" if held.read_at < began else "read"
        self.observe(
            KeySent(
                token=asked.bearer.token,
                limited=asked.bearer.grant.domains is not None,
                domain=domain,
                selector=selector,
                key_id=held.key.key_id,
                found=found,
                peer=asked.peer,
            )
        )
        if _wants_pem(asked.request.headers.get("Accept", "")):
            return web.Response(body=held.key.pem.encode(), content_type=PEM, headers=headers)
        body = orjson.dumps(
            {
                # A key of a given key_id never changes; when another is at its place, it is not in use any more.
                "tags": [held.place.tag] if key_id is not None else _tags(served, places),
                "answer": {
                    "key": held.key.pem,
                    "key_id": held.key.key_id,
                    "algorithm": ALGORITHMS[held.key.algorithm],
                },
            }
        )
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _find(self, places: Sequence[Place], key_id: str | None) -> tuple[Held | None, float | None]:
        """The key, and its age where nobody can tell whether it is the one there now."""
        try:
            return await self.keyring.key(places, key_id), None
        except SecretsUnavailable:
            latest = next((held for place in places if (held := self.keyring.latest(place))), None)
            if key_id is not None or latest is None:
                raise
            return latest, time.monotonic() - latest.read_at


def _key_id(written: str | None) -> str | None:
    if written is not None and not _KEY_ID.fullmatch(written):
        raise LookupInvalid(parameter="key_id", problem="is none", allowed="64 lower-case hexadecimal digits")
    return written


def _answer(served: Served) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(served.answer.body)["answer"]
    return answer


def _tags(served: Served, places: Sequence[Place]) -> list[str]:
    return [*served.answer.tags, *(place.tag for place in places)]


def _wants_pem(accept: str) -> bool:
    """Whether PEM stands in the Accept header before anything that JSON is."""
    for each in accept.split(","):
        media_type = each.partition(";")[0].strip().lower()
        if media_type == PEM:
            return True
        if media_type in ("application/json", "application/*", "*/*"):
            return False
    return False
