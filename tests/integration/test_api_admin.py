"""The admin listener: what it tells anyone, and what it tells an administrator."""

from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, head
from tests.integration.wire import BEARER, assert_discreet, assert_problem, wire

HOST = "Host: policyd"


async def test_the_admin_listener_answers_in_problems_too(service: Service, db: Connection) -> None:
    async with wire(service.admin_url) as connection:
        assert_problem(await connection.get("/nothing"), 404, "no-route")
        reply = await connection.ask("POST /livez HTTP/1.1", HOST, "Content-Length: 0")
        assert_problem(reply, 405, "wrong-method")
        assert reply.headers["allow"] == "GET, HEAD"
        for path in ("/readyz?verbose", "/explain/queue/x"):
            assert_problem(await connection.ask(f"GET {path} HTTP/1.1", HOST), 401, "unauthorized")
            assert_problem(
                await connection.ask(f"GET {path} HTTP/1.1", HOST, f"{BEARER}x"), 401, "unauthorized"
            )
        assert_problem(await connection.get("/explain/queue/%zz"), 400, "bad-request")
        await db.execute("update policy.api_token set scopes = '{lookup}'")
        await service.reach(await head(db))
        for path in ("/readyz?verbose", "/explain/queue/x"):
            assert_problem(await connection.get(path), 403, "forbidden")
        for path in ("/livez", "/readyz", "/metrics"):
            reply = await connection.ask(f"GET {path} HTTP/1.1", HOST)
            assert reply.status == 200
            assert_discreet(reply.body.decode())
    refused = [seen for seen in service.observations.seen if type(seen).__name__ == "TokenRefused"]
    assert len(refused) == 6
    assert TOKEN.partition(".")[2] not in repr(refused)
