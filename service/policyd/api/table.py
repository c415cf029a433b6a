"""The route table itself: every path of the lookup listener."""

import orjson
from aiohttp import web

from policyd.api.answering import LONGEST_WAIT, Answering
from policyd.api.asked import Asked
from policyd.api.authenticating import Authenticating
from policyd.api.key_answers import PEM, KeyAnswers
from policyd.api.openapi import KEY_ID, LABELS, NODE_NAME, POSITION, openapi
from policyd.api.routes import Asks, Route
from policyd.policy.drill import OTHERS, drilled_as
from policyd.policy.kinds import DOCUMENT_KINDS
from policyd.policy.lookup import Kind, Parameter


def create_routes(
    answering: Answering, authenticating: Authenticating, keys: KeyAnswers, *, version: str
) -> tuple[Route, ...]:
    """Every route, with the OpenAPI document of all of them as the last one."""
    routes = (
        *(_lookup(kind, answering) for kind in answering.kinds.values()),
        Route(
            method="GET",
            template="/dkim/{domain}/{selector}",
            scope="dkim",
            summary="The private key of a signature, if the token is good for the domain",
            answer=keys.key,
            drilled_as="dkim",
            answers_policy=True,
            carries_secret=True,
            path=(
                Asks(name="domain", meaning="the d= of the signature, as A-labels", schema=LABELS),
                Asks(name="selector", meaning="the s= of the signature", schema=LABELS),
            ),
            query=(
                Asks(
                    name="key_id",
                    meaning="the key_id of the signing plan: no other key is answered",
                    schema=KEY_ID,
                ),
            ),
            answer_schema="PrivateKey",
            also_as=PEM,
            answers=(200, 404),
        ),
        Route(
            method="POST",
            template="/batch",
            scope="lookup",
            summary="Up to 1,000 lookups in one request, each authorised on its own",
            answer=answering.batch,
            drilled_as=OTHERS,
            answers_policy=True,
            request_schema="Paths",
            answer_schema="Answers",
        ),
        Route(
            method="GET",
            template="/names/{kind}",
            scope="lookup",
            summary=f"The name index: which documents exist ({', '.join(DOCUMENT_KINDS)})",
            answer=answering.names,
            drilled_as=OTHERS,
            answers_policy=True,
            path=(Asks(name="kind", meaning="what is listed", schema={"enum": list(DOCUMENT_KINDS)}),),
            query=(
                Asks(
                    name="after",
                    meaning="the last name of the page before",
                    schema={"type": "string", "pattern": r"^[^\x00]*$"},
                ),
            ),
            answer_schema="Names",
        ),
        Route(
            method="GET",
            template="/changes",
            scope="lookup",
            summary="What changed since a position",
            answer=answering.changes,
            drilled_as=OTHERS,
            query=(
                Asks(
                    name="position",
                    meaning="what the asker has reached; without it, a reset is answered",
                    schema=POSITION,
                ),
                Asks(
                    name="wait",
                    meaning="seconds to wait for something new",
                    schema={"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
                ),
            ),
            answer_schema="Changes",
        ),
        Route(
            method="POST",
            template="/smtp-auth",
            scope="auth",
            summary="Whether a customer's password is right, and on whose behalf they send",
            answer=authenticating.log_in,
            drilled_as="auth",
            answers_policy=True,
            carries_secret=True,
            request_schema="Login",
            answer_schema="Authentication",
        ),
        Route(
            method="PUT",
            template="/nodes/{id}",
            scope="status",
            summary="A node's status: what it has applied, its versions, how its lookups went",
            answer=answering.node,
            path=(Asks(name="id", meaning="the node's name", schema=NODE_NAME),),
            request_schema="NodeReport",
            answers=(204,),
        ),
    )
    return (*routes, _document(routes, version))


def _lookup(kind: Kind, answering: Answering) -> Route:
    key = "" if kind.key is None else f"/{{{kind.key.name}}}"
    return Route(
        method="GET",
        template=f"/{kind.segment}{key}",
        scope="lookup",
        summary=kind.summary,
        answer=answering.lookup,
        drilled_as=drilled_as(kind.name),
        kind=kind,
        answers_policy=True,
        path=() if kind.key is None else (_asks(kind.key),),
        query=tuple(_asks(parameter) for parameter in kind.parameters),
        answer_schema="Envelope" if kind.file is None else "File",
        answers=(200, 404) if kind.file is None else (200, 304),
    )


def _asks(parameter: Parameter) -> Asks:
    bounds = {"minLength": parameter.least, "maxLength": parameter.longest}
    printable = {"pattern": r"^[^\x00-\x1f\x7f]*$"}
    return Asks(
        name=parameter.name,
        meaning=parameter.meaning,
        schema={"type": "string"} | bounds | printable,
    )


def _document(routes: tuple[Route, ...], version: str) -> Route:
    body = orjson.dumps(openapi(routes, version=version), option=orjson.OPT_INDENT_2)

    async def answer(asked: Asked) -> web.StreamResponse:
        del asked
        return web.Response(body=body, content_type="application/json")

    return Route(method="GET", template="/openapi.json", scope=None, summary="This document", answer=answer)
