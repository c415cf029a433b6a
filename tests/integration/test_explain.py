"""Why an answer is what it is."""

import asyncio

from click.testing import CliRunner

from policyd.cli.main import policyd
from policyd.errors import PolicydError
from policyd.store.pool import Connection
from tests.integration.conftest import Service


async def test_explain_shows_each_field_with_its_document_and_those_that_it_overrode(
    service: Service, db: Connection
) -> None:
    await db.execute("insert into policy.egress_pool (name) values ('shared'), ('gold')")
    await db.execute("update policy.queue set egress_pool = 'shared' where domain = 'default'")
    await db.execute("insert into policy.tenant (name, egress_pool) values ('acme', 'gold')")
    async with service.session.get(service.admin_url + "/explain/queue/gmail.com?tenant=acme") as response:
        assert response.status == 200
        explained = await response.json()
    pool = next(each for each in explained["fields"] if each["field"] == "options.egress_pool")
    assert pool == {
        "field": "options.egress_pool",
        "value": "gold",
        "from": "tenant/acme",
        "overrode": [{"from": "queue/default", "value": "shared"}],
    }
    assert {"document": "queue/gmail.com", "exists": False} in explained["looked_for"]
    assert {"document": "tenant/acme", "exists": True} in explained["looked_for"]


async def test_explain_needs_the_admin_scope(service: Service) -> None:
    async with service.session.get(
        service.admin_url + "/explain/queue/gmail.com",
        headers={"Authorization": "Bearer x.0123456789abcdefghij"},
    ) as response:
        assert response.status == 401
        assert response.content_type == "application/problem+json"


async def test_who_asks_without_a_token_is_told_how_to_get_one(service: Service) -> None:
    asked = CliRunner(env={"POLICYD_CLIENT_URL": service.url, "HOME": "/nowhere"})
    done = await asyncio.to_thread(asked.invoke, policyd, ["lookup", "/tenant/acme"])
    assert isinstance(done.exception, PolicydError)
    assert "policyd token create" in (done.exception.hint or "")
