"""The admin listener: liveness, readiness, metrics; for people, Prometheus and load balancers."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from policyd.api.asked import peer_of
from policyd.api.bearers import Bearers, require
from policyd.api.problems import problem_response
from policyd.errors import PolicydError
from policyd.live.feed import Feed

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """What the admin listener tells."""

    feed: Feed
    bearers: Bearers
    metrics: Callable[[], bytes]

    async def livez(self, request: web.Request) -> web.StreamResponse:
        """200 while the process turns."""
        del request
        return web.json_response({"live": True})

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """200 while this replica can answer anything, stale or not: an outage of PostgreSQL must not pull all replicas."""
        ready = self.feed.known is not None and not self.feed.is_stopping
        body: dict[str, object] = {"ready": ready}
        if "verbose" in request.query:
            try:
                require(
                    await self.bearers.identify(request.headers.get("Authorization")),
                    "admin",
                    peer_of(request),
                )
            except PolicydError as error:
                return problem_response(error)
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


def create_admin(admin: Admin) -> web.Application:
    """The admin listener's application."""
    application = web.Application()
    application.add_routes(
        [
            web.get("/livez", admin.livez),
            web.get("/readyz", admin.readyz),
            web.get("/metrics", admin.show_metrics),
        ]
    )
    return application
