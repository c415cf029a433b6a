"""What imports and exports have to know of the shaping that is there."""

import json
from collections.abc import Collection
from typing import Any

from policyd.store.pool import Connection, translated

_OTHER_PROVIDERS = """
select p.name from policy.shaping_provider as p
where p.name <> all ($1::text[])
order by p.position nulls last, p.name collate "C"
"""


async def other_providers(connection: Connection, names: Collection[str]) -> list[str]:
    """The providers that are called otherwise, in their order."""
    with translated():
        return [row["name"] for row in await connection.fetch(_OTHER_PROVIDERS, sorted(names))]


async def read_shaping(connection: Connection) -> dict[str, Any]:
    """All of shaping, as its document has it."""
    with translated():
        body = await connection.fetchval("select d.body::text from policy.shaping_document as d")
    shaping: dict[str, Any] = json.loads(body)
    return shaping
