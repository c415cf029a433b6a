"""What can be asked, from the OpenAPI document that the service makes of its own routes."""

from collections.abc import Iterator
from typing import Any, cast

from generating.markdown import code, made, table

from policyd.api.answering import Answering
from policyd.api.authenticating import Authenticating
from policyd.api.key_answers import KeyAnswers
from policyd.api.openapi import openapi
from policyd.api.table import create_routes
from policyd.policy.kinds import KINDS


class _NobodyAsks:
    """Stands where the route table wants those who answer: it is only read."""

    kinds = {kind.segment: kind for kind in KINDS}  # noqa: RUF012

    def __getattr__(self, name: str) -> None:
        del name


def lookups_page() -> str:
    """Every path with its scope, parameters and statuses."""
    nobody = cast("Any", _NobodyAsks())
    routes = create_routes(
        cast("Answering", nobody), cast("Authenticating", nobody), cast("KeyAnswers", nobody), version=""
    )
    document = openapi(routes, version="")
    return made(
        "Lookups",
        'The running service says the same at `/openapi.json`. An answer is an envelope `{"tags": […], "answer": {…}}` with the header'
        " `Policy-Position`: 200 when something is there, 404 with the same envelope when nothing is. **A response without that header is a"
        " failure, never an answer.** Everything else is a problem document (RFC 9457).",
        *_operations(document),
    )


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"## {method.upper()} {path}\n\n{operation['summary']}."
            security = [
                scope
                for each in operation.get("security", [])
                for scopes in each.values()
                for scope in scopes
            ]
            facts = [f"Scope: {', '.join(code(scope) for scope in security)}."] if security else []
            facts.append(f"Statuses: {', '.join(operation['responses'])}.")
            yield " ".join(facts)
            if operation.get("parameters"):
                yield table(
                    ["parameter", "in", "meaning"], [_parameter(each) for each in operation["parameters"]]
                )


def _parameter(parameter: dict[str, Any]) -> tuple[str, str, str]:
    return code(parameter["name"]), parameter["in"], parameter.get("description", "")
