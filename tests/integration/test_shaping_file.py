"""The files of shaping over HTTP: one that KumoMTA's loader takes, in two formats, sent once."""

import json
import tomllib
from collections.abc import Mapping

from policyd.store.pool import Connection
from tests.integration.conftest import Service, head

ROWS = """
    insert into policy.shaping_provider (name, position, options) values
      ('b', 1, '{"connection_limit": 5, "idle_timeout": 2.5, "skip_hosts": ["10.0.0.0/8"]}'), ('a', 2, '{}');
    insert into policy.shaping_provider_match (provider, rule, value) values ('b', 'MXSuffix', '.b.example');
    insert into policy.shaping_domain (domain, mx_rollup) values ('z.example', true), ('default', null);
    insert into policy.shaping_domain_automation (domain, position, regex, action, duration, threshold)
    values ('z.example', 1, '{"\\\\[TS01\\\\] \\"now\\""}', '["Suspend", {"SetConfig": {"name": "smtp_port", "value": 26}}]', '"1h"', '3/hr');
"""


async def get(service: Service, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.session.get(service.url + path, headers=sent) as response:
        return response.status, await response.read(), response.headers


async def test_without_rows_the_file_says_nothing(service: Service, db: Connection) -> None:
    status, body, headers = await get(service, "/shaping.json")
    assert (status, body, headers["Policy-Position"]) == (200, b"{}\n", await head(db))
    status, body, headers = await get(service, "/shaping.toml")
    assert (status, body, headers["Content-Type"]) == (200, b"", "application/toml")


async def test_both_formats_say_the_same_in_the_same_order(service: Service, db: Connection) -> None:
    await db.execute(ROWS)
    at = await head(db)
    _, as_json, _ = await get(service, "/shaping.json", Policy_Position=at)
    _, as_toml, _ = await get(service, "/shaping.toml", Policy_Position=at)
    said = json.loads(as_json)
    assert said == tomllib.loads(as_toml.decode())
    assert list(said) == ["provider", "default", "z.example"]
    assert list(said["provider"]) == list(tomllib.loads(as_toml.decode())["provider"]) == ["b", "a"]
    assert b"null" not in as_json
    assert b"2.5" in as_json
    assert b'"connection_limit": 5\n' in as_json


async def test_who_has_the_file_is_told_that_it_is_still_so(service: Service, db: Connection) -> None:
    await db.execute(ROWS)
    for path in ("/shaping.json", "/shaping.toml"):
        at = await head(db)
        _, body, headers = await get(service, path, Policy_Position=at)
        tag = headers["ETag"]
        for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            status, nothing, again = await get(service, path, If_None_Match=wanted)
            assert (status, nothing, again["ETag"], again["Policy-Position"]) == (304, b"", tag, at)
        assert (await get(service, path, If_None_Match='"other"'))[:2] == (200, body)


async def test_a_change_of_any_row_is_another_file_and_a_change_of_anything_else_is_not(
    service: Service, db: Connection
) -> None:
    await db.execute(ROWS)
    _, _, before = await get(service, "/shaping.json", Policy_Position=await head(db))
    await db.execute("insert into policy.tenant (name) values ('t')")
    status, _, headers = await get(
        service, "/shaping.json", Policy_Position=await head(db), If_None_Match=before["ETag"]
    )
    assert (status, headers["Policy-Position"]) == (304, await head(db))
    await db.execute("update policy.shaping_domain_automation set threshold = '4/hr'")
    status, body, after = await get(
        service, "/shaping.json", Policy_Position=await head(db), If_None_Match=before["ETag"]
    )
    assert (status, after["ETag"] == before["ETag"]) == (200, False)
    assert b"4/hr" in body


async def test_a_file_needs_the_scope_of_lookups(service: Service) -> None:
    async with service.session.get(
        service.url + "/shaping.json", headers={"Authorization": "Bearer nobody.0123456789abcdef0123"}
    ) as response:
        assert response.status == 401


async def test_it_can_be_explained(service: Service, db: Connection) -> None:
    await db.execute(ROWS)
    await service.reach(await head(db))
    async with service.session.get(service.admin_url + "/explain/shaping.json") as response:
        explained = await response.json()
    assert [each["field"] for each in explained["fields"]] == [
        "provider.b",
        "provider.a",
        "default",
        "z.example",
    ]
    assert explained["looked_for"] == [{"document": "shaping", "exists": True}]
