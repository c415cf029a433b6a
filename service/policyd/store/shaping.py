"""What an import has to know of the rows of shaping that are there."""

from collections.abc import Collection

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
