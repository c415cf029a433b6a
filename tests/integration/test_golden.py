"""The service gives every golden answer, over real HTTP, from real rows."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from policyd.api.problems import TYPE_PREFIX
from policyd.store.pool import Connection
from tests.integration.conftest import Service, head
from tests.integration.signing import KeyFiles

GOLDEN = sorted((Path(__file__).parent.parent / "contract/golden").glob("*.json"))


async def insert(db: Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Put *rows* into their tables as an operator would; the one row of settings is updated."""
    for table, records in rows.items():
        for record in records:
            columns = ", ".join(record)
            values = f"select {columns} from jsonb_populate_record(null::policy.{table}, $1::text::jsonb)"
            if table in ("queue_settings", "dkim_settings"):
                await db.execute(f"update policy.{table} set ({columns}) = ({values})", json.dumps(record))
            else:
                await db.execute(f"insert into policy.{table} ({columns}) {values}", json.dumps(record))


def placed(value: Any, position: str) -> Any:
    """*value* with `$head` replaced."""
    return json.loads(json.dumps(value).replace("$head", position))


def problems_named(body: Any) -> Any:
    """*body* with problems reduced to their names, as the golden files have them."""
    if isinstance(body, list):
        return [problems_named(element) for element in body]
    if isinstance(body, dict) and isinstance(body.get("problem"), dict):
        return body | {"problem": body["problem"]["type"].removeprefix(TYPE_PREFIX)}
    return body


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_the_service_gives_every_golden_answer(
    path: Path, service: Service, db: Connection, key_directory: Path
) -> None:
    golden = json.loads(path.read_text())
    for name, pem in golden.get("keys", {}).items():
        KeyFiles(key_directory).write(name, pem.encode())
    await insert(db, golden["rows"])
    position = await head(db)
    for again in ("from PostgreSQL", "from the cache"):
        for exchange in golden["exchanges"]:
            request, expected = placed(exchange["request"], position), placed(exchange["response"], position)
            async with service.session.request(
                request["method"],
                service.url + request["path"],
                json=request.get("body"),
                headers={"Policy-Position": position},
            ) as response:
                said = f"{exchange['claim']} ({again})"
                assert response.status == expected["status"], said
                if "problem" in expected:
                    assert (await response.json())["type"] == TYPE_PREFIX + expected["problem"], said
                    continue
                assert response.headers["Policy-Position"] == position, said
                if response.status != 204:
                    body = problems_named(await response.json(content_type="application/json"))
                    if isinstance(body, dict) and expected["body"].get("valid_until") == "$soon":
                        assert 0 < body.pop("valid_until") - time.time() <= 10, said
                        del expected["body"]["valid_until"]
                    assert body == expected["body"], said
