"""Liveness, readiness, metrics: what load balancers and Prometheus see in good and bad times."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from policyd import __version__
from policyd.config import CacheConfig
from policyd.observe.events import BackendLost, CurrencyLost, CurrencyRegained
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.proxy import Proxy, proxying
from tests.integration.wire import Reply, wire

KINDS = {"listener_domain", "egress_source", "egress_pool", "tenant", "queue_settings", "queue"}


async def admin(service: Service, path: str) -> Reply:
    async with wire(service.admin_url) as connection:
        return await connection.get(path)


async def samples(service: Service) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    reply = await admin(service, "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(reply.body.decode())
        for each in family.samples
    }


@pytest.fixture
async def distant(dsn: str, db: Connection) -> AsyncIterator[tuple[Service, Proxy]]:
    """A current service that forgets in a second and gives up after two, behind a network that can fail."""
    await make_token(db)
    async with proxying(dsn) as proxy:
        config = replace(
            make_config(proxy.dsn, lease=1.0, poll=0.1), cache=replace(CacheConfig(), max_stale=Seconds(2.0))
        )
        async with serving(config) as service:
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
            yield service, proxy


async def test_a_replica_is_ready_while_it_can_answer_anything(distant: tuple[Service, Proxy]) -> None:
    service, proxy = distant
    await service.get("/queue/known.example")
    assert (await admin(service, "/readyz?verbose")).json["current"] is True
    before = len(service.observations.seen)
    proxy.cut()
    await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost), after=before)
    ready = await admin(service, "/readyz?verbose")
    assert (ready.status, ready.json["ready"], ready.json["current"]) == (200, True, False)
    assert ready.json["seconds_since_the_log_was_read"] >= 1.0
    assert (await service.get("/queue/known.example"))[0] == 200

    async with asyncio.timeout(10):
        while (await service.get("/queue/known.example"))[0] == 200:
            pass
    ready = await admin(service, "/readyz")
    assert (ready.status, ready.json) == (503, {"ready": False})
    assert (await admin(service, "/livez")).status == 200

    before = len(service.observations.seen)
    proxy.heal()
    await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained), after=before)
    assert (await admin(service, "/readyz")).status == 200


async def test_metrics_follow_what_happens(distant: tuple[Service, Proxy], db: Connection) -> None:
    service, proxy = distant
    first = await samples(service)
    assert first["policyd_build_info", __version__] == 1
    assert {key[1] for key in first if key[0] == "policyd_lookups_total"} >= KINDS
    await service.get("/queue/a.example")
    await service.get("/queue/a.example")
    await service.get("/tenant/nobody")
    await service.get("/queue/b.example?tennant=x")
    await db.execute("insert into policy.egress_pool (name) values ('bulk')")
    position = await head(db)
    await service.reach(position)
    async with service.session.put(service.url + "/nodes/mx-1", json={"applied": position}) as response:
        assert response.status == 204
    async with service.session.get(service.url + "/queue/a", headers={"Authorization": "no"}) as response:
        assert response.status == 401
    now = await samples(service)
    grown = {key: value - first.get(key, 0) for key, value in now.items()}
    assert grown["policyd_lookups_total", "queue", "miss"] == 1
    assert grown["policyd_lookups_total", "queue", "hit"] == 1
    assert grown["policyd_lookups_total", "tenant", "none"] == 1
    assert grown["policyd_lookup_duration_seconds_count", "queue"] == 2
    assert grown["policyd_changes_total",] == 1
    assert grown["policyd_tokens_refused_total",] == 1
    assert grown["policyd_cache_entries",] >= 2
    assert grown["policyd_cache_bytes",] > 0
    assert grown["policyd_backend_request_duration_seconds_count", "postgresql", "documents"] >= 2
    assert now["policyd_revision",] == int(position.partition("-")[0])
    assert now["policyd_node_applied_revision", "mx-1"] == now["policyd_revision",]
    assert now["policyd_node_lag_seconds", "mx-1"] == 0
    assert (now["policyd_backend_up", "postgresql"], now["policyd_current",]) == (1, 1)

    before = len(service.observations.seen)
    proxy.cut()
    await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost), after=before)
    await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost), after=before)
    await service.get("/queue/a.example")
    await service.get("/queue/c.example")
    lost = await samples(service)
    assert (lost["policyd_backend_up", "postgresql"], lost["policyd_current",]) == (0, 0)
    assert lost["policyd_lookups_total", "queue", "stale"] == 1
    assert (
        lost["policyd_lookups_total", "queue", "error"] == now["policyd_lookups_total", "queue", "error"] + 1
    )


async def test_no_label_holds_what_somebody_asked_for(service: Service) -> None:
    for name in ("stranger-1", "stranger-2"):
        await service.get(f"/queue/{name}.example?tenant={name}&campaign={name}")
        await service.get(f"/{name}")
    reply = await admin(service, "/metrics")
    assert b"stranger" not in reply.body
