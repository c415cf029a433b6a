"""The admin listener: liveness, readiness, metrics; for people, Prometheus and load balancers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from aiohttp import web

from policyd.api.answering import only, read_lookup
from policyd.api.asked import Target, peer_of
from policyd.api.bearers import Bearers, require
from policyd.api.problems import NO_ROUTE, WRONG_METHOD, RequestRefused
from policyd.api.refusals import refusal
from policyd.live.feed import Feed
from policyd.live.lookups import Lookups
from policyd.observe.events import Observer
from policyd.policy.dkim import places_lookup, read_key_path
from policyd.policy.explaining import explanation
from policyd.policy.lookup import Kind, Lookup

RequestHandler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """What the admin listener tells."""

    feed: Feed
    bearers: Bearers
    lookups: Lookups
    kinds: Mapping[str, Kind]
    """What can be explained, by the segment that stands first in a path."""
    metrics: Callable[[], bytes]
    observe: Observer
    max_stale: float

    async def livez(self, request: web.Request) -> web.StreamResponse:
        """200 while the process turns."""
        del request
        return web.json_response({"live": True})

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """200 while this replica can answer anything, stale or not: an outage of PostgreSQL must not pull all replicas."""
        ready = self.feed.age <= self.max_stale and not self.feed.is_stopping
        body: dict[str, object] = {"ready": ready}
        if "verbose" in request.query:
            await self._admit(request)
            known = self.feed.known
            body |= {
                "current": self.feed.current,
                "position": None if known is None else str(known.position),
                "seconds_since_the_log_was_read": None if known is None else round(self.feed.age, 3),
            }
        return web.json_response(body, status=200 if ready else 503)

    async def show_metrics(self, request: web.Request) -> web.StreamResponse:
        """Prometheus's text format."""
        del request
        return web.Response(body=self.metrics(), headers={"Content-Type": _METRICS_TYPE})

    async def explain(self, request: web.Request) -> web.StreamResponse:
        """
        Why a lookup is answered as it is: `/explain` before the lookup's own path.

        So are `/shaping/DOMAIN?source=&mx=`, which nodes ask for as a file; `/dkim/DOMAIN/SELECTOR`, without the key; and
        `/smtp-auth/USERNAME?peer=`, without a password.
        """
        await self._admit(request)
        lookup = self._read(Target.parse(request.raw_path.removeprefix("/explain")))
        return web.Response(
            body=orjson.dumps(explanation(lookup.path, await self.lookups.explain(lookup))),
            content_type="application/json",
        )

    def _read(self, target: Target) -> Lookup:
        match target.segments:
            case ("dkim", domain, selector):
                only(target.query, set())
                return places_lookup(*read_key_path(domain, selector))
            case _:
                return read_lookup(self.kinds, target)

    async def _admit(self, request: web.Request) -> None:
        bearer = await self.bearers.identify(request.headers.get("Authorization"), peer_of(request))
        require(bearer, "admin", peer_of(request))

    @web.middleware
    async def refuse(self, request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        """Problems instead of aiohttp's own pages."""
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return refusal(
                RequestRefused(WRONG_METHOD, f"allowed: {allowed}", headers={"Allow": allowed}),
                self.observe,
                request,
            )
        except web.HTTPNotFound:
            return refusal(RequestRefused(NO_ROUTE, "nothing is at this path"), self.observe, request)
        except Exception as error:  # noqa: BLE001  (the edge, as on the other listener)
            return refusal(error, self.observe, request)


def create_admin(admin: Admin) -> web.Application:
    """The admin listener's application."""
    application = web.Application(middlewares=[admin.refuse])
    application.add_routes(
        [
            web.get("/livez", admin.livez),
            web.get("/readyz", admin.readyz),
            web.get("/metrics", admin.show_metrics),
            web.get("/explain/{lookup:.*}", admin.explain),
        ]
    )
    return application
