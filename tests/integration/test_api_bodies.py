"""Bodies: batches and reports, whole, broken, too large and too slow."""

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from policyd.store.pool import Connection
from policyd.units import Bytes, Seconds
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.wire import BEARER, Reply, Wire, assert_problem, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "Host: policyd"
BATCH = "POST /batch HTTP/1.1"


async def send(connection: Wire, line: str, body: Any, *lines: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await connection.ask(line, HOST, BEARER, f"Content-Length: {len(raw)}", *lines, body=raw)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'["/tenant/a",]',
        b"[NaN]",
        b"\xff",
        b'["\xff"]',
        b'["/tenant/\\ud800"]',
        b"[" * 5000,
        {"paths": []},
        "/tenant/a",
        [1],
        [["/tenant/a"]],
        [None],
        ["/tenant/a"] * 1001,
    ],
    ids=lambda body: repr(body)[:30],
)
async def test_a_batch_that_is_no_list_of_paths_is_refused(asked_only: Service, body: Any) -> None:
    async with wire(asked_only.url) as connection:
        assert_problem(await send(connection, BATCH, body), 400, "bad-request")
        assert (await connection.get("/queue-settings")).status == 200


async def test_a_batch_answers_each_path_for_itself_and_in_order(asked_only: Service) -> None:
    paths = [
        "/tenant/a", "/queue-settings", "/tenant/a", "/TENANT/a", "/names/queue", "/batch", "", "tenant/a", "?",
        "http://policyd/tenant/a", "/queue/a%", "/queue/a\x00", "/egress-pool/", "/queue/x?tennant=a",
        "/queue/Ä.example", "/queue/" + "a" * 20_000,
    ]  # fmt: skip
    async with wire(asked_only.url) as connection:
        reply = await send(connection, BATCH, paths)
        alone = (await connection.get("/tenant/a")).json
    statuses = [each["status"] for each in reply.json]
    assert statuses == [404, 200, 404, 404, 404, 404, 400, 400, 400, 400, 400, 400, 400, 400, 200, 400]
    assert reply.status == 200
    assert reply.json[0] == reply.json[2] == {"status": 404, **alone}
    for each in reply.json:
        assert ("problem" in each) != ("tags" in each)
        assert each.get("problem", each)["status"] == each["status"]


async def test_an_empty_batch_and_one_of_a_thousand_duplicates_are_batches(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        empty = await send(connection, BATCH, [])
        assert (empty.status, empty.json) == (200, [])
        assert "policy-position" in empty.headers
        many = await send(connection, BATCH, ["/queue/x.example"] * 1000)
        assert len({json.dumps(each) for each in many.json}) == 1


async def test_a_chunked_or_compressed_body_is_a_body(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        chunks = b'2\r\n["\r\nd\r\n/tenant/nobody"\r\n1\r\n]\r\n0\r\n\r\n'.replace(b"d\r\n", b"f\r\n", 1)
        reply = await connection.ask(BATCH, HOST, BEARER, "Transfer-Encoding: chunked", body=chunks)
        assert [each["status"] for each in reply.json] == [404]
        reply = await send(connection, BATCH, gzip.compress(b'["/tenant/a"]'), "Content-Encoding: gzip")
        assert [each["status"] for each in reply.json] == [404]


async def test_whoever_waits_for_a_go_ahead_before_sending_gets_it(asked_only: Service) -> None:
    async with wire(asked_only.url) as connection:
        await connection.send(BATCH, HOST, BEARER, "Content-Length: 2", "Expect: 100-continue")
        assert (await connection.reply()).status == 100
        connection.writer.write(b"[]")
        assert (await connection.reply()).json == []


@pytest.mark.parametrize(
    ("lines", "body", "status", "slug"),
    [
        (["Content-Length: 99999999"], b"", 413, "too-large"),
        (["Content-Length: 99999999", "Expect: 100-continue"], b"", 413, "too-large"),
        (
            ["Transfer-Encoding: chunked"],
            b"200000\r\n" + b" " * 0x200000 + b"\r\n0\r\n\r\n",
            413,
            "too-large",
        ),
        (["Content-Encoding: gzip"], gzip.compress(b" " * 2**24), 413, "too-large"),
        (["Content-Encoding: gzip", "Content-Length: 5"], b"xxxxx", 400, "bad-request"),
        (["Transfer-Encoding: chunked"], b"zz\r\nno", 400, "bad-request"),
    ],
    ids=["declared", "expecting", "chunked", "bomb", "no-gzip", "no-chunk"],
)
async def test_a_body_that_cannot_be_read_ends_the_connection_with_a_problem(
    asked_only: Service, lines: list[str], body: bytes, status: int, slug: str
) -> None:
    if not any("Content-Length" in line or "chunked" in line for line in lines):
        lines = [*lines, f"Content-Length: {len(body)}"]
    async with wire(asked_only.url) as connection:
        await connection.send(BATCH, HOST, BEARER, *lines)
        connection.writer.write(body)
        reply = await connection.reply()
        assert_problem(reply, status, slug)
        assert reply.version == "HTTP/1.0" or reply.headers["connection"] == "close"
    assert not [seen for seen in asked_only.observations.seen if type(seen).__name__ == "RequestFailed"]


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_failure_of_ours(asked_only: Service) -> None:
    for _ in range(3):
        async with wire(asked_only.url) as connection:
            await connection.send(BATCH, HOST, BEARER, "Content-Length: 100", body=b"[")
            assert (await asked_only.get("/queue-settings"))[0] == 200
    for _ in range(10):
        assert (await asked_only.get("/queue-settings"))[0] == 200
    assert not [seen for seen in asked_only.observations.seen if type(seen).__name__ == "RequestFailed"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/nodes/", {}),
        ("/nodes/a%2Fb", {}),
        ("/nodes/a%20b", {}),
        ("/nodes/%C3%A4", {}),
        ("/nodes/" + "n" * 65, {}),
        ("/nodes/n?x=1", {}),
        ("/nodes/n", []),
        ("/nodes/n", None),
        ("/nodes/n", 7),
        ("/nodes/n", {"applied": "5"}),
        ("/nodes/n", {"applied": 5}),
        ("/nodes/n", {"applied": "99999999999999999999-00000000"}),
        ("/nodes/n", {"group": "eu west"}),
        ("/nodes/n", {"kumomta_version": "v" * 65}),
        ("/nodes/n", {"client_version": {}}),
        ("/nodes/n", {"error": "e" * 1001}),
        ("/nodes/n", {"error": "\x00"}),
        ("/nodes/n", {"counts": {"hit": -1}}),
        ("/nodes/n", {"counts": {"hit": 1.5}}),
        ("/nodes/n", {"counts": {"hit": 2**63}}),
        ("/nodes/n", {"counts": {"\x00": 1}}),
        ("/nodes/n", {"counts": {str(each): 1 for each in range(101)}}),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_report_that_cannot_be_kept_is_refused(asked_only: Service, path: str, body: Any) -> None:
    async with wire(asked_only.url) as connection:
        assert_problem(await send(connection, f"PUT {path} HTTP/1.1", body), 400, "lookup-invalid")
        assert (await connection.get("/queue-settings")).status == 200


@pytest.mark.parametrize("body", [b"", b"x", b"\xff"])
async def test_a_report_that_is_not_json_is_refused(asked_only: Service, body: bytes) -> None:
    async with wire(asked_only.url) as connection:
        assert_problem(await send(connection, "PUT /nodes/n HTTP/1.1", body), 400, "bad-request")


@pytest.mark.asyncio(loop_scope="function")
async def test_a_node_belongs_to_the_token_that_reported_it_first(service: Service, db: Connection) -> None:
    await make_token(db, "other.abcdefghij0123456789", ("status",))
    await service.reach(await head(db))
    report = {
        "applied": await head(db),
        "group": "eu",
        "kumomta_version": "2026.08.04-3ebc1e85",
        "counts": {"hit": 3},
        "novelty": {"of": "a newer client"},
    }
    async with wire(service.url) as connection:
        for _ in range(2):
            reply = await send(connection, "PUT /nodes/mx-1.eu HTTP/1.1", report)
            assert (reply.status, reply.body) == (204, b"")
        raw = b"{}"
        stolen = await connection.ask(
            "PUT /nodes/mx-1.eu HTTP/1.1", HOST, "Authorization: Bearer other.abcdefghij0123456789",
            f"Content-Length: {len(raw)}", body=raw,
        )  # fmt: skip
        assert_problem(stolen, 403, "forbidden")
    row = await db.fetchrow("select token, node_group, counts from policy.node where node_id = 'mx-1.eu'")
    assert row is not None
    assert tuple(row) == ("test", "eu", '{"hit": 3}')


@pytest.mark.asyncio(loop_scope="function")
async def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    config = make_config(dsn)
    config = replace(config, lookup=replace(config.lookup, body_deadline=Seconds(0.2), max_body=Bytes(1024)))
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        async with wire(service.url) as connection, asyncio.timeout(5):
            await connection.send(BATCH, HOST, BEARER, "Content-Length: 10", body=b"[")
            reply = await connection.reply()
            assert_problem(reply, 408, "too-slow")
            assert reply.headers["connection"] == "close"
        async with wire(service.url) as connection:
            assert_problem(await send(connection, BATCH, b" " * 1025), 413, "too-large")
