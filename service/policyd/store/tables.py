"""
The tables of policy that files can fill, and the statements that many rows of one need.

The statements are made here from the tables' columns, because thirteen of the same shape would hide the one that differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from policyd.transfer.sources import SOURCE_COLUMNS

_QUEUE = ("egress_pool", "routing_domain", "options")
_RULE = ("regex", "action", "threshold", "duration", "match_internal")
_SETTINGS = (
    "scheduling_header",
    "tenant_header",
    "campaign_header",
    "remove_tenant_header",
    "remove_campaign_header",
    "default_tenant",
)

# Windows of time are policyd's own: only its own file speaks of them, so no other changes them.
_WINDOW = ("not_before", "not_after")
_DKIM = ("selector", "headers", "header_canonicalization", "body_canonicalization", "over_sign", "expiration")
_KEY_PLACE = ("key_root", "key_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns that can be written, and for a table of children how they name the document that they belong to."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """Columns that only policyd's own file speaks of."""
    part_of: tuple[str, tuple[str, ...]] | None = None
    """The parent's table, and its key as this table calls it: a document is replaced with all its children. A parent of
    one row is called nothing."""

    def upsert(self, columns: tuple[str, ...]) -> str:
        """Writes these columns of one JSON array's rows; a row that would stay as it is, to the letter, is not touched."""
        written = ", ".join((*self.key, *columns))
        new = ", ".join(f"excluded.{column}" for column in columns)
        # As text, because in jsonb 5 and 5.0 are one value, and KumoMTA takes only the first for an integer.
        differs = " or ".join(f"t.{c}::text is distinct from excluded.{c}::text" for c in columns)
        change = f"update set ({', '.join(columns)}) = row({new}) where {differs}" if columns else "nothing"
        return (
            f"insert into policy.{self.name} as t ({written})"  # noqa: S608 -- all names are of TABLES
            f" select {written} from jsonb_populate_recordset(null::policy.{self.name}, $1::text::jsonb)"
            f" on conflict ({', '.join(self.key)}) do {change}"
        )

    def delete_others(self, parent: tuple[str, ...]) -> str:
        """Deletes the children of the documents in one JSON array that are not among the rows in another one."""
        given = f"jsonb_populate_recordset(null::policy.{self.name}, ${{}}::text::jsonb)"
        same_parent = " and ".join(f"d.{column} = t.{column}" for column in parent) or "true"
        same_row = " and ".join(f"n.{column} = t.{column}" for column in self.key)
        return (
            f"delete from policy.{self.name} as t using {given.format(1)} as d"  # noqa: S608 -- as above
            f" where {same_parent} and not exists (select from {given.format(2)} as n where {same_row})"
        )

    def others(self) -> str:
        """Rows that are not among those of one JSON array, save those that no file can have: a FROM clause and what follows."""
        same_row = " and ".join(f"n.{column} = t.{column}" for column in self.key)
        return (
            f"from policy.{self.name} as t where not exists ("
            f"select from jsonb_populate_recordset(null::policy.{self.name}, $1::text::jsonb) as n where {same_row})"
            f" and {_KEPT.get(self.name, 'true')}"
        )


_KEPT = {
    "egress_source": "t.name <> 'unspecified'",
    "egress_pool": "t.name <> 'unspecified'",
    "queue": "t.domain <> 'default'",
    "queue_tenant": "t.domain <> 'default'",
    "queue_campaign": "t.domain <> 'default'",
}
"""Rows that migrations made; and what is in the default, where no file can have tenants."""

TABLES = (  # a table comes after those that its foreign keys point at
    Table(name="egress_source", key=("name",), columns=SOURCE_COLUMNS),
    Table(name="egress_source_group", key=("name", "node_group"), columns=SOURCE_COLUMNS),
    Table(name="egress_pool", key=("name",)),
    Table(
        name="egress_pool_entry",
        key=("pool", "source"),
        columns=("weight",),
        part_of=("egress_pool", ("pool",)),
    ),
    Table(name="egress_pool_group", key=("name", "node_group")),
    Table(
        name="egress_pool_group_entry",
        key=("pool", "node_group", "source"),
        columns=("weight",),
        part_of=("egress_pool_group", ("pool", "node_group")),
    ),
    Table(
        name="tenant",
        key=("name",),
        columns=("egress_pool", "require_authz", "overall_max_message_rate", "options"),
    ),
    Table(
        name="tenant_campaign",
        key=("tenant", "campaign"),
        columns=("overall_max_message_rate",),
        part_of=("tenant", ("tenant",)),
    ),
    Table(name="queue", key=("domain",), columns=_QUEUE),
    Table(name="queue_tenant", key=("domain", "tenant"), columns=_QUEUE),
    Table(name="queue_campaign", key=("domain", "tenant", "campaign"), columns=_QUEUE),
    Table(name="queue_settings", key=("singleton",), columns=_SETTINGS),
    Table(
        name="listener_domain",
        key=("listener", "domain"),
        columns=("relay_to", "relay_from", "relay_from_authz", "log_oob", "log_arf"),
    ),
    Table(name="dkim_settings", key=("singleton",), columns=_DKIM),
    Table(
        name="dkim_signature",
        key=("name",),
        columns=("domain", "policy", "algorithm", *_DKIM, *_KEY_PLACE),
        own=_WINDOW,
    ),
    Table(
        name="dkim_additional_signature",
        key=("position",),
        columns=("signature",),
        part_of=("dkim_settings", ()),
    ),
    Table(name="dkim_domain", key=("domain",), columns=("algorithm", *_DKIM, *_KEY_PLACE), own=_WINDOW),
    Table(
        name="shaping_provider",
        key=("name",),
        columns=(
            "position",
            "replace_base",
            "provider_connection_limit",
            "provider_max_message_rate",
            "options",
        ),
    ),
    Table(
        name="shaping_provider_match",
        key=("provider", "rule", "value"),
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_provider_source",
        key=("provider", "source"),
        columns=("provider_source_selection_rate", "options"),
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_provider_automation",
        key=("provider", "position"),
        columns=_RULE,
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_domain",
        key=("domain",),
        columns=("position", "mx_rollup", "replace_base", "options"),
    ),
    Table(
        name="shaping_domain_source",
        key=("domain", "source"),
        columns=("options",),
        part_of=("shaping_domain", ("domain",)),
    ),
    Table(
        name="shaping_domain_automation",
        key=("domain", "position"),
        columns=_RULE,
        part_of=("shaping_domain", ("domain",)),
    ),
    Table(
        name="webhook",
        key=("name",),
        columns=(
            "url",
            "insecure",
            "tenant",
            "events",
            "headers",
            "secret",
            "batch_size",
            "max_batch_latency",
            "timeout",
            "enabled",
        ),
    ),
)

BY_NAME: Mapping[str, Table] = {table.name: table for table in TABLES}

OF_KIND: Mapping[str, tuple[str, ...]] = {
    "policyd": ("webhook", "egress_pool_group", "egress_source_group"),
    "listener_domains": ("listener_domain",),
    "dkim": ("dkim_domain", "dkim_signature"),
    "shaping": ("shaping_domain", "shaping_provider"),
    "queues": ("queue_campaign", "queue_tenant", "queue", "tenant"),
    "sources": ("egress_pool", "egress_source"),
}
"""The tables that a kind of file holds all of, in an order in which rows can be deleted: children go with their parents."""
