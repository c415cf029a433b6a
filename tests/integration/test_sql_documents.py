"""
The document views: what an answer is made from.
"""

import json
from typing import Any

import asyncpg


async def documents(db: asyncpg.Connection, kind: str) -> dict[str, Any]:
    return {
        row["tag"]: json.loads(row["body"])
        for row in await db.fetch(f"select tag, body from policy.{kind}_document")
    }


async def test_listener_domains_say_what_make_listener_domain_wants(db):
    await db.execute(
        """
        insert into policy.listener_domain (listener, domain, relay_to, relay_from, relay_from_authz, log_oob, log_arf) values
          ('*', 'a.example', true, '{10.0.0.0/24,any}', '{bob}', 'true', 'LogThenDrop'),
          ('10.0.0.1:25', 'a.example', false, '{}', '{}', 'false', null),
          ('*', '*', null, null, null, null, null)
        """
    )
    assert await documents(db, "listener_domain") == {
        "listener_domain/*/a.example": {
            "relay_to": True, "relay_from": ["10.0.0.0/24", "any"], "relay_from_authz": ["bob"], "log_oob": True,
            "log_arf": "LogThenDrop",
        },
        "listener_domain/10.0.0.1:25/a.example": {"relay_to": False, "log_oob": False},
        "listener_domain/*/*": {},
    }  # fmt: skip


async def test_sources_are_parameters_of_make_egress_source(db):
    await db.execute(
        """
        insert into policy.egress_source (name, source_address, remote_port) values ('a', '192.0.2.1', 2525);
        insert into policy.egress_source_group (name, node_group, socks5_proxy_server, socks5_proxy_source_address,
          socks5_proxy_username, socks5_proxy_password, suspend_when_unplumbed)
        values ('a', 'eu', '10.0.0.9:1080', '192.0.2.1', 'u', '{"secret": "proxy"}', '{"duration": "5m"}');
        """
    )
    assert await documents(db, "egress_source") == {
        "egress_source/*/unspecified": {"name": "unspecified"},
        "egress_source/*/a": {"name": "a", "source_address": "192.0.2.1", "remote_port": 2525},
        "egress_source/eu/a": {
            "name": "a", "socks5_proxy_server": "10.0.0.9:1080", "socks5_proxy_source_address": "192.0.2.1",
            "socks5_proxy_username": "u", "socks5_proxy_password": {"secret": "proxy"}, "suspend_when_unplumbed": {"duration": "5m"},
        },
    }  # fmt: skip


async def test_pools_list_their_entries_in_byte_order(db):
    await db.execute(
        """
        insert into policy.egress_source (name) values ('b'), ('B'), ('a');
        insert into policy.egress_pool (name) values ('p'), ('empty');
        insert into policy.egress_pool_group (name, node_group) values ('p', 'eu');
        insert into policy.egress_pool_entry (pool, source, weight) values ('p', 'b', 5), ('p', 'B', 0), ('p', 'a', null);
        insert into policy.egress_pool_group_entry (pool, node_group, source, weight) values ('p', 'eu', 'unspecified', 1);
        """
    )
    assert await documents(db, "egress_pool") == {
        "egress_pool/*/unspecified": {"name": "unspecified", "entries": []},
        "egress_pool/*/empty": {"name": "empty", "entries": []},
        "egress_pool/*/p": {
            "name": "p",
            "entries": [{"name": "B", "weight": 0}, {"name": "a"}, {"name": "b", "weight": 5}],
        },
        "egress_pool/eu/p": {"name": "p", "entries": [{"name": "unspecified", "weight": 1}]},
    }


async def test_tenants_bring_their_campaigns(db):
    await db.execute(
        """
        insert into policy.tenant (name, egress_pool, require_authz, overall_max_message_rate, options)
        values ('full', 'unspecified', '{bob}', '10/s', '{"max_age": 3600}'), ('bare', null, null, null, '{}'),
              ('closed', null, '{}', null, '{}');
        insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('full', 'c', '1/s'), ('full', 'd', null);
        """
    )
    assert await documents(db, "tenant") == {
        "tenant/full": {
            "egress_pool": "unspecified", "require_authz": ["bob"], "overall_max_message_rate": "10/s", "options": {"max_age": 3600},
            "campaigns": {"c": {"overall_max_message_rate": "1/s"}, "d": {}},
        },
        "tenant/bare": {"options": {}},
        "tenant/closed": {"require_authz": [], "options": {}},
    }  # fmt: skip


async def test_queues_have_three_levels(db):
    await db.execute(
        """
        insert into policy.queue (domain, routing_domain, options) values ('a.example', '[10.0.0.1]', '{"max_age": "1 day"}');
        insert into policy.queue_tenant (domain, tenant, egress_pool) values ('a.example', 't', 'unspecified');
        insert into policy.queue_campaign (domain, tenant, campaign, options) values ('a.example', 't', 'c', '{"retry_interval": 60.5}');
        """
    )
    assert await documents(db, "queue") == {
        "queue/default": {"options": {}},
        "queue/a.example": {"routing_domain": "[10.0.0.1]", "options": {"max_age": "1 day"}},
        "queue/a.example/t": {"egress_pool": "unspecified", "options": {}},
        "queue/a.example/t/c": {"options": {"retry_interval": 60.5}},
    }


async def test_settings_hold_until_told_otherwise(db):
    assert await documents(db, "queue_settings") == {"queue_settings": {"on_missing": "hold"}}
    await db.execute(
        "update policy.queue_settings set tenant_header = 'X-Tenant', remove_tenant_header = true, on_missing = 'stock'"
    )
    assert await documents(db, "queue_settings") == {
        "queue_settings": {"on_missing": "stock", "tenant_header": "X-Tenant", "remove_tenant_header": True}
    }


async def test_tokens_expire_at_a_second(db):
    await db.execute(
        """
        insert into policy.api_token (name, sha256, scopes, networks, domains, expires_at) values
          ('node', repeat('a', 64), '{lookup,status}', '{10.0.0.0/8,::1/128}', '{a.example}', '2030-01-01 00:00:00.75+00'),
          ('plain', repeat('b', 64), '{lookup}', null, null, null)
        """
    )
    assert await documents(db, "api_token") == {
        "api_token/node": {
            "name": "node", "sha256": "a" * 64, "scopes": ["lookup", "status"], "networks": ["10.0.0.0/8", "::1/128"],
            "domains": ["a.example"], "expires_at": 1893456000,
        },
        "api_token/plain": {"name": "plain", "sha256": "b" * 64, "scopes": ["lookup"]},
    }  # fmt: skip


async def test_a_judged_record_is_what_the_document_says(db):
    await db.execute(
        """
        insert into policy.listener_domain (domain, relay_to, log_oob, log_arf, relay_from) values ('a.example', true, 'true', 'Ignore', '{any}');
        insert into policy.egress_source (name, remote_port) values ('a', 26);
        """
    )
    for kind in ("listener_domain", "egress_source"):
        differ = await db.fetch(
            f"""
            select d.tag from policy.{kind}_document as d join policy.{kind} as r on r.tag = d.tag
            where policy.record('{kind}', to_jsonb(r))::text <> d.body::text
            """
        )
        assert differ == []
