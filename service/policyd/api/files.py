"""Answers that are files: sent as they are, with an entity tag, and not at all to who has them already."""

from aiohttp import web

from policyd.live.answers import FileAnswer


def file_response(answer: FileAnswer, labels: dict[str, str], wanted: str | None) -> web.Response:
    """The file; 304 where *wanted* (the request's If-None-Match) names it."""
    headers = labels | {"ETag": answer.entity_tag}
    if wanted is not None and _names(wanted, answer.entity_tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=answer.body, content_type=answer.media_type, headers=headers)


def _names(wanted: str, entity_tag: str) -> bool:
    """Whether the list holds the tag, weak or strong (RFC 9110, 13.1.2). A tag of ours holds no comma."""
    given = {each.strip().removeprefix("W/") for each in wanted.split(",")}
    return entity_tag in given or "*" in given
