"""The lookup listener: from a raw request to a response, the hit first and everything else after it."""

import time
from collections.abc import Mapping
from functools import lru_cache

from aiohttp import web

from policyd.api.answering import Answering
from policyd.api.asked import POSITION_HEADER, Asked, Target, is_private, peer_of, position_of, target_of
from policyd.api.bearers import Bearers, require
from policyd.api.problems import (
    NO_ROUTE,
    PLAINTEXT,
    WRONG_METHOD,
    RequestRefused,
    problem_document,
    problem_wire,
)
from policyd.api.refusals import refusal
from policyd.api.routes import Route, Router
from policyd.api.wire import Ready, heads, takes_ready_bytes
from policyd.errors import Bottleneck, Overloaded
from policyd.live.answers import BODY_AT, FOUND_AT
from policyd.live.feed import Feed
from policyd.live.lookups import Lookups
from policyd.live.tally import Tally
from policyd.observe.events import Observer, RequestShed
from policyd.policy.position import Position


class LookupListener:
    """Answers one request after another; what `web.Server` is given to call."""

    def __init__(
        self,
        *,
        answering: Answering,
        bearers: Bearers,
        feed: Feed,
        lookups: Lookups,
        router: Router,
        observe: Observer,
        allow_plaintext_secrets: bool,
    ) -> None:
        self._allow_plaintext_secrets = allow_plaintext_secrets
        self._answering = answering
        self._bearers = bearers
        self._feed = feed
        self._lookups = lookups
        self._router = router
        self._observe = observe
        self._is_ending = False
        self._heads = heads(Position(0, ""))
        self._tallies: Mapping[str, Tally] = {
            kind.segment: lookups.tallies[kind.name] for kind in answering.kinds.values()
        }
        self._kinds = {kind.segment: kind.name for kind in answering.kinds.values()}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to *request*; errors become problems here and nowhere else."""
        began = time.perf_counter()
        hit = None if self._is_ending else self._hit(request, began)
        if hit is not None:
            return hit
        try:
            response = await self._answer(request)
        except Exception as error:  # noqa: BLE001  (the edge: whatever it is, the client gets an answer and the log the rest)
            response = refusal(error, self._observe, request)
        if self._is_ending:
            response.force_close()
        return response

    def say_goodbye(self) -> None:
        """Let every response from now on be the last one of its connection."""
        self._is_ending = True

    def _hit(self, request: web.BaseRequest, began: float) -> web.StreamResponse | None:
        """The whole of a cached lookup that keeps its connection: token, position, rule, and ready bytes."""
        known = self._feed.vouched
        if known is None or self._feed.drills.on or not takes_ready_bytes(request):
            return None
        headers, position = request.headers, known.position
        bearer = self._bearers.remembered(headers.get("Authorization"))
        if bearer is None or "lookup" not in bearer.grant.scopes:
            return None
        if bearer.grant.networks is not None and not bearer.admits_peer(peer_of(request)):
            return None
        if position is not self._heads.position:
            self._heads = heads(position)
        written = headers.get(POSITION_HEADER)
        if written is not None and written != self._heads.written and not self._is_ours(written):
            return None
        path = request.raw_path
        kept = self._lookups.vouched_for(path)
        if kept is None:
            return self._shed(request, began)
        found = kept[FOUND_AT] == 1
        self._tallies[path.split("/", 2)[1]].count("hit" if found else "none", time.perf_counter() - began)
        return Ready(self._heads.wire(kept[BODY_AT:], found=found), 200 if found else 404, request)

    def _shed(self, request: web.BaseRequest, began: float) -> web.StreamResponse | None:
        """What a lookup is told for which there is no room: that must cost less than what there is no room for."""
        segment = request.raw_path.split("/", 2)[1].partition("?")[0]
        kind = self._kinds.get(segment)
        full = None if kind is None else self._lookups.full(kind, request.raw_path)
        if full is None:
            return None
        self._tallies[segment].count("error", time.perf_counter() - began)
        self._observe(RequestShed(bottleneck=full.bottleneck, reason=str(full)))
        return Ready(_come_again(full.bottleneck, full.limit), 503, request)

    def _is_ours(self, written: str) -> bool:
        try:
            return self._feed.is_ours(Position.parse(written)) is True
        except ValueError:
            return False

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        target = target_of(request)
        route = self._route(request.method, target)
        bearer = self._bearers.anyone
        if route.scope is not None:
            bearer = await self._bearers.identify(request.headers.get("Authorization"), peer_of(request))
            require(bearer, route.scope, peer_of(request))
        if route.carries_secret and not (self._allow_plaintext_secrets or is_private(request)):
            raise RequestRefused(
                PLAINTEXT, "use https (lookup.tls_cert), or set lookup.allow_plaintext_secrets = true"
            )
        asked = Asked(request=request, target=target, bearer=bearer, peer=peer_of(request))
        self._keep_to_drills(route, asked)
        position = position_of(request) if route.answers_policy else None
        history = self._feed.history
        if position is not None:
            await self._answering.history.reach(position)
        response = await route.answer(asked)
        if position is not None and history != self._feed.history:
            # The database was replaced while this was answered: the position may be lost.
            await self._answering.history.reach(position)
        # A long-poll was asked before the drill began.
        self._keep_to_drills(route, asked)
        return response

    def _keep_to_drills(self, route: Route, asked: Asked) -> None:
        if self._feed.drills.on and route.drilled_as is not None:
            self._feed.drills.refuse(route.drilled_as, asked.node)

    def _route(self, method: str, target: Target) -> Route:
        routes = self._router.find(target.segments)
        if not routes:
            raise RequestRefused(NO_ROUTE, "nothing is at this path; /openapi.json says what is")
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted({*routes, *(["HEAD"] if "GET" in routes else [])}))
            raise RequestRefused(WRONG_METHOD, f"allowed: {allowed}", headers={"Allow": allowed})
        return route


@lru_cache(maxsize=16)
def _come_again(bottleneck: Bottleneck, limit: float) -> bytes:
    """The whole response to a lookup for which there is no room."""
    error = Overloaded(bottleneck=bottleneck, limit=limit)
    return problem_wire(error, problem_document(error, detail=str(error)))
