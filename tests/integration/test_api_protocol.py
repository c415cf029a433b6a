"""HTTP at its edges: whatever is sent, the answer is right or a problem, and the connection survives where it can."""

import pytest

from tests.integration.conftest import Service
from tests.integration.wire import BEARER, assert_problem, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "Host: policyd"
LOOKUP = ("GET /queue-settings HTTP/1.1", HOST, BEARER)


@pytest.mark.parametrize(
    "lines",
    [
        ["garbage"],
        ["BOGUS /queue/x HTTP/1.1", HOST, BEARER],
        ["get /queue/x HTTP/1.1", HOST, BEARER],
        ["GET /queue/a b HTTP/1.1", HOST, BEARER],
        [b"GET /queue/\xff HTTP/1.1", HOST, BEARER],
        [b"GET /queue/\x00 HTTP/1.1", HOST, BEARER],
        ["GET queue/x HTTP/1.1", HOST, BEARER],
        ["GET /queue/x HTTP/1.7", HOST, BEARER],
        ["GET /queue/x HTTP/1.1", BEARER],
        ["GET /queue/x HTTP/1.1", HOST, f"{BEARER}\x00"],
        ["GET /queue/x HTTP/1.1", HOST, f"{BEARER} \x01"],
        ["GET /queue/x HTTP/1.1", HOST, f" {BEARER}"],
        ["GET /queue/x HTTP/1.1", HOST, BEARER, f"X-Long: {'a' * 9000}"],
        [f"GET /queue/{'a' * 9000} HTTP/1.1", HOST, BEARER],
        ["GET /queue/x HTTP/1.1", HOST, BEARER, *(f"X-{number}: many" for number in range(200))],
        ["POST /batch HTTP/1.1", HOST, BEARER, "Content-Length: -5"],
        ["POST /batch HTTP/1.1", HOST, BEARER, "Content-Length: 5", "Content-Length: 6"],
        ["POST /batch HTTP/1.1", HOST, BEARER, "Content-Length: 5", "Transfer-Encoding: chunked"],
    ],
    ids=lambda lines: repr(lines)[:60],
)
async def test_what_is_no_http_is_told_so_without_being_quoted(
    asked_only: Service, lines: list[str | bytes]
) -> None:
    async with wire(asked_only.url) as connection:
        assert_problem(await connection.ask(*lines), 400, "bad-request")
        assert await connection.is_closed()


@pytest.mark.parametrize(
    ("line", "status", "slug", "allow"),
    [
        ("POST /queue/x", 405, "wrong-method", "GET, HEAD"),
        ("PUT /queue-settings", 405, "wrong-method", "GET, HEAD"),
        ("DELETE /listener-domain/x", 405, "wrong-method", "GET, HEAD"),
        ("PATCH /names/queue", 405, "wrong-method", "GET, HEAD"),
        ("TRACE /queue/x", 405, "wrong-method", "GET, HEAD"),
        ("OPTIONS /queue/x", 405, "wrong-method", "GET, HEAD"),
        ("GET /batch", 405, "wrong-method", "POST"),
        ("HEAD-LESS /batch", 400, "bad-request", None),
        ("GET /nodes/n", 405, "wrong-method", "PUT"),
        ("OPTIONS *", 400, "bad-request", None),
        ("GET /", 404, "no-route", None),
        ("GET /queue", 404, "no-route", None),
        ("GET /queue/a/b", 404, "no-route", None),
        ("GET //queue/a", 404, "no-route", None),
        ("GET /queue/../queue-settings", 404, "no-route", None),
        ("GET /./queue-settings", 404, "no-route", None),
        ("GET /queue-settings/", 404, "no-route", None),
        ("GET /QUEUE/a", 404, "no-route", None),
        ("GET /nowhere/example.com", 404, "no-route", None),
        ("GET /queue/%", 400, "bad-request", None),
        ("GET /queue/%4", 400, "bad-request", None),
        ("GET /queue/%zz", 400, "bad-request", None),
        ("GET /queue/%ff", 400, "bad-request", None),
        ("GET /queue/%c3%28", 400, "bad-request", None),
        ("GET /queue/x?tenant=%f", 400, "bad-request", None),
        ("GET /queue/%ed%a0%80", 400, "bad-request", None),
        ("GET /queue/%00", 400, "lookup-invalid", None),
        ("GET /queue/a%0d%0aX-Injected:%201", 400, "lookup-invalid", None),
        ("GET /queue/x?tenant=%00", 400, "lookup-invalid", None),
        ("GET /queue/x?tennant=a", 400, "lookup-invalid", None),
        ("GET /queue/x?=a", 400, "lookup-invalid", None),
        ("GET /queue/x?tenant=a&tenant=a", 400, "lookup-invalid", None),
        ("GET /queue-settings?tenant=a", 400, "lookup-invalid", None),
        ("GET /egress-pool/", 400, "lookup-invalid", None),
        ("GET /names/api_token", 400, "lookup-invalid", None),
        ("GET /names/queue?after=%00", 400, "lookup-invalid", None),
        ("GET /names/queue?after=a&after=b", 400, "lookup-invalid", None),
        ("GET /names/queue?before=a", 400, "lookup-invalid", None),
        ("GET /changes?position=5", 400, "lookup-invalid", None),
        ("GET /changes?position=0-0000000G", 400, "lookup-invalid", None),
        ("GET /changes?position=0-00000000&position=0-00000000", 400, "lookup-invalid", None),
        ("GET /changes?since=0", 400, "lookup-invalid", None),
        ("GET /changes?wait=soon", 400, "lookup-invalid", None),
        ("GET /changes?wait=-1", 400, "lookup-invalid", None),
        ("GET /changes?wait=nan", 400, "lookup-invalid", None),
        ("GET /changes?wait=inf", 400, "lookup-invalid", None),
        ("GET /changes?wait=61", 400, "lookup-invalid", None),
        ("GET /changes?wait=1&wait=2", 400, "lookup-invalid", None),
    ],
)
async def test_a_wrong_request_is_a_problem_and_the_connection_goes_on(
    asked_only: Service, line: str, status: int, slug: str, allow: str | None
) -> None:
    async with wire(asked_only.url) as connection:
        reply = await connection.ask(f"{line} HTTP/1.1", HOST, BEARER)
        assert_problem(reply, status, slug)
        assert reply.headers.get("allow") == allow
        if line.startswith("HEAD-LESS"):
            assert await connection.is_closed()
        else:
            assert (await connection.ask(*LOOKUP)).status == 200


@pytest.mark.parametrize(
    "position", ["5", "", "5-XYZ", "-1-00000000", "9" * 19 + "-00000000", "0-00000000, 0-00000000"]
)
async def test_a_position_that_cannot_be_read_is_refused_on_a_hit_too(
    asked_only: Service, position: str
) -> None:
    async with wire(asked_only.url) as connection:
        assert (await connection.ask(*LOOKUP)).status == 200
        for _ in range(2):
            reply = await connection.ask(*LOOKUP, f"Policy-Position: {position}")
            assert_problem(reply, 400, "lookup-invalid")
            assert "Policy-Position" in reply.json["detail"]


async def test_a_position_of_another_history_or_of_the_future_is_a_conflict(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        for position in ("0-00000000", "999999-00000000"):
            reply = await connection.ask(*LOOKUP, f"Policy-Position: {position}")
            assert_problem(reply, 409, "other-history")


async def test_head_says_what_get_would_without_a_body_and_keeps_the_connection(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        for path in ("/queue-settings", "/tenant/nobody", "/openapi.json", "/names/queue", "/nothing/here"):
            got = await connection.get(path)
            told = await connection.ask(f"HEAD {path} HTTP/1.1", HOST, BEARER, bodiless=True)
            assert (told.status, told.headers["content-length"]) == (
                got.status,
                got.headers["content-length"],
            )
            assert told.headers.get("policy-position") == got.headers.get("policy-position")
        assert (await connection.ask(*LOOKUP)).status == 200


async def test_pipelined_requests_are_answered_in_order_hits_misses_and_problems_alike(
    asked_only: Service,
) -> None:
    paths = [f"/queue/{name}.example" for name in ("hit", "miss", "hit", "b%", "other", "hit", "miss")]
    async with wire(asked_only.url) as connection:
        await connection.get(paths[0])
        await connection.send(
            "\r\n\r\n".join("\r\n".join((f"GET {path} HTTP/1.1", HOST, BEARER)) for path in paths)
        )
        for path in paths:
            reply = await connection.reply()
            if "%" in path:
                assert_problem(reply, 400, "bad-request")
            else:
                assert path.removeprefix("/") in reply.json["tags"]


async def test_a_post_between_pipelined_hits_keeps_its_place(asked_only: Service) -> None:
    body = b'["/tenant/a"]'
    batch = ("POST /batch HTTP/1.1", HOST, BEARER, f"Content-Length: {len(body)}")
    async with wire(asked_only.url) as connection:
        await connection.ask(*LOOKUP)
        await connection.send("\r\n".join(LOOKUP) + "\r\n\r\n" + "\r\n".join(batch), body=body + b"\r\n")
        await connection.send(*LOOKUP)
        replies = [await connection.reply() for _ in range(3)]
    assert [type(reply.json) for reply in replies] == [dict, list, dict]


async def test_http_1_0_gets_one_answer_or_keeps_the_connection_if_it_says_so(asked_only: Service) -> None:
    old = ("GET /queue-settings HTTP/1.0", BEARER)
    async with wire(asked_only.url) as connection:
        for _ in range(2):
            reply = await connection.ask(*old, "Connection: keep-alive")
            assert (reply.status, reply.headers["connection"].lower()) == (200, "keep-alive")
        assert (await connection.ask(*old)).status == 200
        assert await connection.is_closed()


async def test_a_hit_that_asks_for_it_is_the_connection_s_last(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        await connection.ask(*LOOKUP)
        reply = await connection.ask(*LOOKUP, "Connection: close")
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await connection.is_closed()


async def test_a_hit_and_a_miss_differ_in_nothing_that_a_client_reads(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        miss, hit = [await connection.get("/tenant/nobody") for _ in range(2)]
    told = ("content-type", "content-length", "policy-position")
    assert (miss.status, miss.body) == (hit.status, hit.body)
    assert [miss.headers[name] for name in told] == [hit.headers[name] for name in told]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_an_offer_to_upgrade_is_passed_over(asked_only: Service, upgrade: str) -> None:
    async with wire(asked_only.url) as connection:
        for _ in range(3):
            reply = await connection.get("/queue-settings", "Connection: Upgrade", f"Upgrade: {upgrade}")
            assert reply.status == 200


async def test_a_proxy_s_absolute_form_is_the_same_request(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        for host in ("http://policyd", "https://policyd:8085"):
            reply = await connection.get(f"{host}/tenant/nobody?")
            assert reply.json == {"tags": ["tenant/nobody"]}


async def test_a_get_with_a_body_is_answered_and_its_body_is_no_request(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        await connection.ask(*LOOKUP)
        for _ in range(2):
            reply = await connection.ask(*LOOKUP, "Content-Length: 22", body=b"GET /smuggled HTTP/1.1")
            assert reply.status == 200
        assert (await connection.ask(*LOOKUP)).status == 200
