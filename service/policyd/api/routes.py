"""The one route table of the lookup listener: the router, the scopes and the OpenAPI document are made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

from policyd.api.asked import Asked
from policyd.policy.lookup import Kind

Handler: TypeAlias = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """Something that a request's path or query says, as the documentation shows it: with a JSON schema."""

    name: str
    meaning: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path and method: who may ask, what is answered, and by what."""

    method: str
    template: str
    scope: str | None
    """The scope that a token needs; None: open to anyone, and worth nothing to a stranger."""
    summary: str
    answer: Handler
    kind: Kind | None = None
    drilled_as: str | None = None
    """What a drill calls it; None: no drill makes it fail."""
    answers_policy: bool = False
    """Whether what is answered must not be older than the position that the request carries."""
    carries_secret: bool = False
    """Whether a secret stands in the request or the answer: then over TLS or on this machine only."""
    path: tuple[Asks, ...] = ()
    """What stands for each name in braces."""
    query: tuple[Asks, ...] = ()
    request_schema: str | None = None
    answer_schema: str | None = None
    also_as: str | None = None
    """Another media type in which what was found can be had."""
    answers: tuple[int, ...] = field(default=(200,))

    @property
    def shape(self) -> tuple[str, int]:
        """What the router finds it by: the first segment, and how many follow."""
        first, *rest = self.template.removeprefix("/").split("/")
        return first, len(rest)


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._by_shape: dict[tuple[str, int], dict[str, Route]] = {}
        for route in routes:
            self._by_shape.setdefault(route.shape, {})[route.method] = route

    def find(self, segments: tuple[str, ...]) -> dict[str, Route]:
        """The routes at a path, by method; empty when nothing is there."""
        return self._by_shape.get((segments[0], len(segments) - 1), {})
