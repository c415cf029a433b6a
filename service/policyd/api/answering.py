"""Handlers of the lookup listener: answers, batches, name pages, changes, nodes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from policyd.api.asked import POSITION_HEADER, Asked, Target, read_json
from policyd.api.bearers import require
from policyd.api.files import file_response
from policyd.api.problems import BAD_REQUEST, NO_ROUTE, RequestRefused
from policyd.api.refusals import refusal_document
from policyd.api.wire import Ready, heads, takes_ready_bytes
from policyd.errors import DatabaseUnavailable, LookupInvalid
from policyd.live.answers import FileAnswer
from policyd.live.drills import Drills
from policyd.live.history import History
from policyd.live.lookups import Lookups, Served
from policyd.observe.events import NodeReported, Observer
from policyd.policy.drill import drilled_as
from policyd.policy.kinds import DOCUMENT_KINDS
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.node import NodeReport
from policyd.policy.position import Position

MOST_IN_BATCH = 1_000
MOST_NAMES = 10_000
LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What the handlers answer from."""

    lookups: Lookups
    history: History
    drills: Drills
    kinds: Mapping[str, Kind]
    """By the segment that stands first in a path."""
    read_names: Callable[[str, str, int], Awaitable[tuple[Position, list[str]]]]
    write_report: Callable[[NodeReport, str | None], Awaitable[None]]
    observe: Observer
    most_bytes: int
    body_deadline: float

    async def lookup(self, asked: Asked) -> web.StreamResponse:
        """One answer: 200 or 404 with the envelope and its label; of a kind that is a file, the file."""
        served = await self.lookups.answer(self.read(asked.target))
        found, is_file = served.answer.found, isinstance(served.answer, FileAnswer)
        if served.stale_for is None and not is_file and takes_ready_bytes(asked.request):
            wire = heads(served.position).wire(served.answer.body, found=found)
            return Ready(wire, 200 if found else 404, asked.request)
        label = labels(served.position, served.stale_for)
        if isinstance(served.answer, FileAnswer):
            return file_response(served.answer, label, asked.request.headers.get("If-None-Match"))
        return web.Response(
            status=200 if found else 404,
            body=served.answer.body,
            content_type="application/json",
            headers=label,
        )

    async def batch(self, asked: Asked) -> web.StreamResponse:
        """Many answers in order, each with its status; the label is one that holds for all of them."""
        paths = await self._body(asked)
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise RequestRefused(BAD_REQUEST, 'the body is a JSON array of paths, like ["/tenant/acme"]')
        if len(paths) > MOST_IN_BATCH:
            raise RequestRefused(
                BAD_REQUEST, f"{len(paths)} paths in one batch; allowed: at most {MOST_IN_BATCH}"
            )
        history = self.lookups.history
        results = await asyncio.gather(*(self._serve_path(path, asked) for path in paths))
        if history != self.lookups.history:
            raise DatabaseUnavailable("the database was replaced by another one while this was answered")
        positions = [served.position for served in results if isinstance(served, Served)]
        ages = [
            served.stale_for
            for served in results
            if isinstance(served, Served) and served.stale_for is not None
        ]
        return web.Response(
            body=b"[" + b",".join(_element(result) for result in results) + b"]",
            content_type="application/json",
            headers=labels(
                min(positions, key=lambda position: position.number)
                if positions
                else self.history.position(),
                max(ages) if ages else None,
            ),
        )

    async def names(self, asked: Asked) -> web.StreamResponse:
        """A page of the name index: every document of a kind that exists, by tag."""
        if asked.key not in DOCUMENT_KINDS:
            raise LookupInvalid(
                parameter="kind",
                problem=f"{asked.key[:40]!r} has no names",
                allowed=", ".join(DOCUMENT_KINDS),
            )
        after = only(asked.target.query, {"after"}).get("after", "")
        position, names = await self.read_names(asked.key, after, MOST_NAMES)
        await self.history.follow(position)
        page: dict[str, Any] = {"position": str(position), "names": names}
        if len(names) == MOST_NAMES:
            page["next"] = names[-1]
        return _json(page, position)

    async def changes(self, asked: Asked) -> web.StreamResponse:
        """What changed since a position, waiting for something to; `reset` for one that is not of this history."""
        given = only(asked.target.query, {"position", "wait"})
        position = _position(given["position"]) if "position" in given else None
        news = await self.history.since(position, _wait(given.get("wait", "0")))
        body = {
            "position": str(news.head),
            "tags": {tag: [revision, exists] for tag, (revision, exists) in news.tags.items()},
            "floors": dict(news.floors),
            "reset": news.reset,
        }
        return _json(body, news.head)

    async def node(self, asked: Asked) -> web.StreamResponse:
        """Take a node's report of what it has applied."""
        only(asked.target.query, set())
        report = NodeReport.parse(asked.key, await self._body(asked))
        await self.write_report(report, asked.bearer.token)
        self.observe(NodeReported(node=report.node_id, applied=report.applied, counts=report.counts))
        return web.Response(status=204, headers={POSITION_HEADER: str(self.history.position())})

    def read(self, target: Target, *, files: bool = True) -> Lookup:
        """The lookup at *target*; RequestRefused when no kind is asked for there, or a file where none fits in."""
        kind = self.kinds.get(target.segments[0])
        if kind is not None and kind.file is not None and not files:
            raise RequestRefused(BAD_REQUEST, "this is a file, which is asked for alone: GET it")
        return read_lookup(self.kinds, target)

    async def _body(self, asked: Asked) -> Any:
        return await read_json(asked.request, most_bytes=self.most_bytes, deadline=self.body_deadline)

    async def _serve_path(self, path: str, asked: Asked) -> Served | dict[str, object]:
        try:
            lookup = self.read(Target.parse(path), files=False)
            require(asked.bearer, "lookup", asked.peer)
            if self.drills.on:
                self.drills.refuse(drilled_as(lookup.kind), asked.node)
            return await self.lookups.answer(lookup)
        except Exception as error:  # noqa: BLE001  (what is wrong with one of them is no reason to fail the others)
            return refusal_document(error, self.observe, asked.request)


def read_lookup(kinds: Mapping[str, Kind], target: Target) -> Lookup:
    """The lookup at *target*, of the kind whose segment stands first in it; RequestRefused when there is none."""
    kind = kinds.get(target.segments[0])
    if kind is None or len(target.segments) != (1 if kind.key is None else 2):
        raise RequestRefused(NO_ROUTE, "this path is not a lookup; /openapi.json says which are")
    return kind.read(target.segments[1] if kind.key is not None else None, target.query)


def labels(position: Position, stale_for: float | None) -> dict[str, str]:
    """The headers that say what an answer is worth."""
    headers = {POSITION_HEADER: str(position)}
    if stale_for is not None:
        headers["Policy-Stale"] = "true"
        headers["Age"] = str(int(stale_for))
    return headers


def _element(result: Served | dict[str, object]) -> bytes:
    if not isinstance(result, Served):
        return orjson.dumps({"status": result["status"], "problem": result})
    stale = b"" if result.stale_for is None else b'"stale":true,"age":%d,' % int(result.stale_for)
    return b'{"status":%d,%b%b' % (200 if result.answer.found else 404, stale, result.answer.body[1:])


def _json(body: object, position: Position) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), content_type="application/json", headers={POSITION_HEADER: str(position)}
    )


def only(query: Sequence[tuple[str, str]], allowed: set[str]) -> dict[str, str]:
    """The parameters of a query, which may hold each of *allowed* once and nothing else."""
    given: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            raise LookupInvalid(
                parameter=name,
                problem="is not a parameter here",
                allowed=", ".join(sorted(allowed)) or "none",
            )
        if name in given:
            raise LookupInvalid(parameter=name, problem="is given twice", allowed="once")
        if "\x00" in value:
            raise LookupInvalid(parameter=name, problem="holds NUL", allowed="text")
        given[name] = value
    return given


def _position(written: str) -> Position:
    try:
        return Position.parse(written)
    except ValueError as error:
        raise LookupInvalid(parameter="position", problem="cannot be read", allowed=str(error)) from None


def _wait(written: str) -> float:
    try:
        seconds = float(written)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise LookupInvalid(
            parameter="wait", problem=f"is {written[:20]!r}", allowed=f"seconds from 0 to {LONGEST_WAIT:g}"
        )
    return seconds
