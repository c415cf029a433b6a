"""The OpenAPI document, made from the route table and from nothing else."""

import re
from typing import Any

from policyd.api.problems import CONTENT_TYPE, TYPE_PREFIX, TYPES
from policyd.api.routes import Asks, Route

_TAG = {"type": "string", "examples": ["listener_domain/*/example.com"]}
NODE_NAME = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
POSITION = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})-[0-9a-f]{8}$", "examples": ["105-3f9a12bc"]}
KEY_ID = {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "SHA-256 of the public key: openssl pkey -pubout -outform DER | sha256sum",
}
LABELS = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$",
    "maxLength": 253,
}
_NO_NUL = r"^[^\x00]*$"
_ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["tags"],
    "properties": {
        "tags": {
            "type": "array",
            "items": _TAG,
            "description": "the documents, present or absent, that it was made from",
        },
        "answer": {"type": "object", "description": "what was found; absent when nothing is there"},
        "with": {
            "type": "object",
            "description": "answers to keep under their own paths",
            "additionalProperties": {"$ref": "#/components/schemas/Envelope"},
        },
        "valid_until": {"type": "number", "description": "seconds since 1970"},
    },
}
_SCHEMAS: dict[str, Any] = {
    "Envelope": _ENVELOPE,
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "enum": []},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "hint": {"type": "string"},
            "request_id": {"type": "string"},
        },
    },
    "File": {"description": "a file as KumoMTA's own loader takes it"},
    "Paths": {"type": "array", "maxItems": 1000, "items": {"type": "string", "examples": ["/tenant/acme"]}},
    "Answers": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "integer"},
                **_ENVELOPE["properties"],
                "stale": {"type": "boolean"},
                "age": {"type": "integer"},
                "problem": {"$ref": "#/components/schemas/Problem"},
            },
        },
    },
    "Names": {
        "type": "object",
        "required": ["position", "names"],
        "properties": {
            "position": POSITION,
            "names": {"type": "array", "items": _TAG},
            "next": {"type": "string", "description": "give it as `after` for the next page"},
        },
    },
    "Changes": {
        "type": "object",
        "required": ["position", "tags", "floors", "reset"],
        "properties": {
            "position": POSITION,
            "tags": {
                "type": "object",
                "description": "by tag: [its last revision, whether its document exists]",
                "additionalProperties": {
                    "type": "array",
                    "items": {"type": ["integer", "boolean"]},
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "floors": {"type": "object", "additionalProperties": {"type": "integer"}},
            "reset": {"type": "boolean"},
        },
    },
    "PrivateKey": {
        "type": "object",
        "required": ["tags"],
        "properties": {
            "tags": {"type": "array", "items": _TAG},
            "answer": {
                "type": "object",
                "required": ["key", "key_id", "algorithm"],
                "properties": {
                    "key": {"type": "string", "description": "PKCS#8 as PEM"},
                    "key_id": KEY_ID,
                    "algorithm": {"enum": ["sha256", "ed25519"]},
                },
            },
        },
    },
    "Login": {
        "type": "object",
        "required": ["username", "password", "peer"],
        "additionalProperties": False,
        "properties": {
            "username": {"type": "string", "description": "as the customer gave it"},
            "password": {"type": "string", "format": "password"},
            "peer": {
                "type": "string",
                "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
                "description": "the address that the customer came from, without a port",
            },
        },
    },
    "Authentication": {
        "type": "object",
        "required": ["authenticated", "tags"],
        "properties": {
            "authenticated": {"type": "boolean", "description": "false: a permanent no (535)"},
            "username": {
                "type": "string",
                "description": "what `require_authz` lists: the session's authz_id",
            },
            "tenant": {"type": "string", "description": "who they send for, and for nobody else"},
            "networks": {
                "type": "array",
                "items": {"type": "string"},
                "description": "from where; absent: from anywhere",
            },
            "tags": {"type": "array", "items": _TAG},
            "valid_until": {"type": "number", "description": "seconds since 1970"},
        },
    },
    "NodeReport": {
        "type": "object",
        "description": "What a newer client says beside this is left out.",
        "properties": {
            "applied": {"anyOf": [POSITION, {"type": "null"}]},
            "group": {"anyOf": [NODE_NAME, {"type": "null"}]},
            "kumomta_version": {"type": ["string", "null"], "maxLength": 64, "pattern": _NO_NUL},
            "client_version": {"type": ["string", "null"], "maxLength": 64, "pattern": _NO_NUL},
            "counts": {
                "type": "object",
                "maxProperties": 100,
                "propertyNames": {"maxLength": 64, "pattern": _NO_NUL},
                "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
            },
            "error": {"type": ["string", "null"], "maxLength": 1000, "pattern": _NO_NUL},
            "in_touch": {
                "type": "boolean",
                "description": "false: it cannot learn what changes, because of a drill",
            },
        },
    },
}
_TITLES = {200: "The answer", 204: "Taken", 304: "What the asker has is still so", 404: "Nothing is there"}
_STALE = {
    "Policy-Position": {
        "description": "up to which revision the answer is known to be valid",
        "schema": POSITION,
    },
    "Policy-Stale": {
        "description": "`true`: nobody can vouch for it at the moment",
        "schema": {"type": "string"},
    },
    "Age": {"description": "seconds since it could be vouched for", "schema": {"type": "integer"}},
}
_ENTITY_TAG = {"ETag": {"description": "for If-None-Match", "schema": {"type": "string"}}}


def openapi(routes: tuple[Route, ...], *, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of *routes*."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    schemas = dict(_SCHEMAS)
    schemas["Problem"] = {**schemas["Problem"], "properties": {**schemas["Problem"]["properties"]}}
    schemas["Problem"]["properties"]["type"] = {
        "type": "string",
        "enum": [TYPE_PREFIX + problem.slug for problem in TYPES],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "policyd",
            "version": version,
            "description": "Live policy for KumoMTA. A response without `Policy-Position` is a failure, not an answer.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "NAME.SECRET, of `policyd token create`",
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": re.sub(r"\W+", "-", f"{route.method.lower()}{route.template}").strip("-"),
        "parameters": [*_parameters("path", route.path), *_parameters("query", route.query)],
        "responses": {str(status): _answer(route, status) for status in route.answers}
        | {"default": {"description": "A problem (RFC 9457)", "content": _content("Problem", CONTENT_TYPE)}},
    }
    if route.scope is not None:
        operation["security"] = [{"token": []}]
        operation["description"] = f"Needs scope `{route.scope}`."
    if route.request_schema is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _content(route.request_schema, "application/json"),
        }
    if _is_file(route):
        operation["parameters"].append(
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "the ETag of what the asker has: 304 while it is the same",
                "schema": {"type": "string"},
            }
        )
    if route.answers_policy:
        operation["parameters"].append(
            {
                "name": "Policy-Position",
                "in": "header",
                "description": "what the asker has reached; nothing older is answered",
                "schema": POSITION,
            }
        )
    return operation


def _answer(route: Route, status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _TITLES[status]}
    if status not in (204, 304) and route.answer_schema is not None:
        answer["content"] = _content(route.answer_schema, _media_type(route))
        if route.also_as is not None and status == 200:
            answer["content"][route.also_as] = {"schema": {"type": "string"}}
    if route.answers_policy:
        answer["headers"] = _STALE | (_ENTITY_TAG if _is_file(route) else {})
    return answer


def _is_file(route: Route) -> bool:
    return route.kind is not None and route.kind.file is not None


def _media_type(route: Route) -> str:
    if route.kind is None or route.kind.file is None:
        return "application/json"
    return route.kind.file.media_type


def _content(schema: str, media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _parameters(where: str, asked: tuple[Asks, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": where,
            "required": where == "path",
            "description": each.meaning,
            "schema": dict(each.schema),
        }
        for each in asked
    ]
