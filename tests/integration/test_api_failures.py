"""PostgreSQL is there and says no: somebody renamed a view, or a newer policyd changed it under this one."""

from collections.abc import AsyncIterator

import pytest

from policyd.observe.events import BackendFailed, BackendLost, CurrencyLost, CurrencyRegained, RequestFailed
from policyd.store.pool import Connection
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.wire import BEARER, assert_problem, wire

HOST = "Host: policyd"


@pytest.fixture
async def service(dsn: str, db: Connection) -> AsyncIterator[Service]:
    """A service that soon notices when it cannot read the log any more."""
    await make_token(db)
    async with serving(make_config(dsn, lease=1.0, poll=0.1)) as running_service:
        await running_service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        yield running_service


async def test_a_database_that_refuses_what_it_is_asked_is_an_outage_and_not_the_end(
    service: Service, db: Connection
) -> None:
    await service.get("/queue/known.example")
    await db.execute("alter view policy.tenant_document rename to moved")
    before = len(service.observations.seen)
    lost = await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost), after=before)
    assert isinstance(lost, BackendLost)
    assert "tenant_document" in lost.reason
    await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost), after=before)

    async with wire(service.url) as connection:
        stale = await connection.get("/queue/known.example")
        assert (stale.status, stale.headers["policy-stale"]) == (200, "true")
        assert_problem(await connection.get("/queue/unknown.example"), 503, "unavailable")

    before = len(service.observations.seen)
    await db.execute("alter view policy.moved rename to tenant_document")
    await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained), after=before)
    assert (await service.get("/queue/unknown.example"))[0] == 200


async def test_what_postgresql_says_of_a_request_is_for_the_log_and_not_for_its_sender(
    service: Service, db: Connection
) -> None:
    await db.execute("alter table policy.node rename column last_error to moved")
    async with wire(service.url) as connection:
        reply = await connection.ask("PUT /nodes/mx HTTP/1.1", HOST, BEARER, "Content-Length: 2", body=b"{}")
        assert_problem(reply, 503, "unavailable")
        assert "last_error" not in reply.body.decode()
        assert (await connection.get("/queue-settings", f"Policy-Position: {await head(db)}")).status == 200
    (failed,) = [seen for seen in service.observations.seen if isinstance(seen, BackendFailed)]
    assert "last_error" in failed.reason


async def test_a_mistake_of_ours_is_a_500_with_the_id_of_a_line_in_the_log_alone_and_in_a_batch(
    service: Service, db: Connection
) -> None:
    # A body that no release of policyd writes: the resolver cannot make anything of it.
    await db.execute("insert into policy.egress_pool (name) values ('odd')")
    await db.execute("alter view policy.egress_pool_document rename to genuine")
    await db.execute(
        "create view policy.egress_pool_document as select tag, body - 'entries' as body from policy.genuine"
    )
    body = b'["/egress-pool/odd", "/queue/%", "/queue-settings"]'
    async with wire(service.url) as connection:
        alone = await connection.get("/egress-pool/odd", f"Policy-Position: {await head(db)}")
        assert_problem(alone, 500, "internal")
        batch = await connection.ask(
            "POST /batch HTTP/1.1", HOST, BEARER, f"Content-Length: {len(body)}", body=body
        )
    assert [each["status"] for each in batch.json] == [500, 400, 200]
    told = [alone.json, batch.json[0]["problem"]]
    failed = [seen for seen in service.observations.seen if isinstance(seen, RequestFailed)]
    assert [each.request_id for each in failed] == [problem["request_id"] for problem in told]
    assert [(each.method, each.route) for each in failed] == [("GET", "egress-pool"), ("POST", "batch")]
    assert all("detail" not in problem for problem in told)
