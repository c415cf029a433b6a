"""A node beside services of another release: what is new is passed over, what is old is missed by nobody."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import orjson
from aiohttp import web

from tests.lua.sites import ASK, ROWS, ask

SITE = ASK + "require('policyd.sources'):setup() require('policyd.queue'):setup()"
KEPT = ("Policy-Position", "Policy-Stale", "Age", "Retry-After")


@contextlib.asynccontextmanager
async def of_another_release(target: str, *, newer: bool) -> AsyncIterator[str]:
    """
    The service at *target* as one of another release would be.

    A newer one says more in every object and header; an older one knows no webhooks.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if not newer and request.path == "/names/webhook":
            problem = {"type": "urn:policyd:problem:lookup-invalid", "status": 400, "title": "no such kind"}
            return web.json_response(problem, status=400, content_type="application/problem+json")
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, target + request.path_qs, data=await request.read(), headers=request.headers
            ) as reply,
        ):
            body, kind = await reply.read(), reply.content_type
            headers = {name: reply.headers[name] for name in KEPT if name in reply.headers}
            if newer and kind == "application/json" and body[:1] == b"{":
                body = orjson.dumps(orjson.loads(body) | {"novelty": {"of": ["tomorrow", None]}})
                headers["Policy-Novelty"] = "yes"
            return web.Response(status=reply.status, body=body, headers=headers, content_type=kind)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_newer_service_may_say_more_than_a_node_understands(site):
    async with of_another_release(site.endpoint.target, newer=True) as url:
        await site.endpoint.be("through", target=url)
        node = await site.node(SITE, rows=ROWS)
        assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "gold"
        await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
        found = await ask(node, "tenant", "acme")
        assert (found["answer"]["egress_pool"], found.get("stale")) == ("shared", None)
        queue = await node.queue("a.example")
        assert queue.config["egress_pool"] == "shared"
        await site.endpoint.be("refused")


async def test_an_older_service_without_a_kind_serves_all_others(site):
    async with of_another_release(site.endpoint.target, newer=False) as url:
        await site.endpoint.be("through", target=url)
        await site.db.execute(ROWS)
        node = await site.kumod(site.policy(SITE))
        site.endpoint.clock = node.clock

        async def is_known() -> bool:
            answer = (await ask(node, "tenant", "acme")).get("answer", {})
            return bool(answer.get("egress_pool") == "gold")

        await node.until(is_known, within=30)
        await site.endpoint.be("refused")
