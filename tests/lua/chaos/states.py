"""A small policy: what it says, the changes that it may get, and the statements that make them."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Names: TypeAlias = dict[str, Any]

# Mail is of these, so they are always there; what they say changes.
TENANT, DOMAIN = "acme", "a.example"
POOLS = ("shared", "gold")
SOURCES = ("ip-1", "ip-2", "ip-3")
TENANTS = (TENANT, "t1", "t2")
LISTENED = (DOMAIN, "flip.example", "*.flip.example", "sub.flip.example")
QUEUES = (DOMAIN, "*.example", "b.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is committed: rows that there are, by name."""

    domains: Names = field(default_factory=lambda: {DOMAIN: True})
    sources: Names = field(default_factory=lambda: dict.fromkeys(SOURCES, "mta.example"))
    pools: Names = field(default_factory=lambda: {"shared": ("ip-1",), "gold": ("ip-2",)})
    tenants: Names = field(default_factory=lambda: {TENANT: "gold"})
    queues: Names = field(default_factory=lambda: {"default": "shared"})

    def relays(self, domain: str) -> bool | None:
        """What a listener domain says; None where there is none."""
        found: bool | None = _nearest(self.domains, domain)
        return found

    def queue(self, domain: str, tenant: str | None) -> str | None:
        """The pool of a queue; None for one that waits because its tenant has no row."""
        if tenant is None:
            found = _nearest(self.queues, domain)
            return str(self.queues["default"] if found is None else found)
        return self.tenant(tenant)

    def tenant(self, name: str) -> str | None:
        return self.tenants.get(name)

    def pool(self, name: str) -> tuple[str, ...] | None:
        return self.pools.get(name)

    def source(self, name: str) -> str | None:
        """The name that a source says in its EHLO."""
        return self.sources.get(name)


@dataclass(frozen=True, slots=True)
class Change:
    """Statements, and what is committed once they are."""

    statements: tuple[str, ...]
    after: State


INITIAL = State()
ROWS = """
insert into policy.listener_domain (domain, relay_to) values ('a.example', true);
insert into policy.egress_source (name, ehlo_domain)
  values ('ip-1', 'mta.example'), ('ip-2', 'mta.example'), ('ip-3', 'mta.example');
insert into policy.egress_pool (name) values ('shared'), ('gold');
insert into policy.egress_pool_entry (pool, source) values ('shared', 'ip-1'), ('gold', 'ip-2');
insert into policy.tenant (name, egress_pool) values ('acme', 'gold');
update policy.queue set egress_pool = 'shared' where domain = 'default';
update policy.queue_settings set tenant_header = 'X-Tenant';
"""


def any_change(state: State, rng: random.Random) -> Change:
    """One to three rows that become something, in one transaction."""
    statements: list[str] = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choice(_CHANGES)(state, rng)
        statements.extend(change.statements)
        state = change.after
    return Change(tuple(statements), state)


def _domain(state: State, rng: random.Random) -> Change:
    name = rng.choice(LISTENED)
    value = rng.choice([True, False, None]) if name != DOMAIN else True
    sql = _row("listener_domain", "domain", name, "relay_to", value)
    return Change((sql,), replace(state, domains=_with(state.domains, name, value)))


def _source(state: State, rng: random.Random) -> Change:
    name, value = rng.choice(SOURCES), f"mta{rng.randrange(5)}.example"
    sql = _row("egress_source", "name", name, "ehlo_domain", value)
    return Change((sql,), replace(state, sources=_with(state.sources, name, value)))


def _entries(state: State, rng: random.Random) -> Change:
    name = rng.choice(POOLS)
    entries = tuple(sorted(rng.sample(SOURCES, rng.choice([1, 1, 2]))))
    listed = ", ".join(f"('{name}', '{source}')" for source in entries)
    sql = (
        f"delete from policy.egress_pool_entry where pool = '{name}'",
        f"insert into policy.egress_pool_entry (pool, source) values {listed}",
    )
    return Change(sql, replace(state, pools=_with(state.pools, name, entries)))


def _spare_pool(state: State, rng: random.Random) -> Change:
    """A pool that nobody uses and that comes and goes."""
    value = None if "spare" in state.pools else ()
    sql = (
        "delete from policy.egress_pool where name = 'spare'"
        if value is None
        else "insert into policy.egress_pool (name) values ('spare')"
    )
    return Change((sql,), replace(state, pools=_with(state.pools, "spare", value)))


def _tenant(state: State, rng: random.Random) -> Change:
    name = rng.choice(TENANTS)
    value = rng.choice([*POOLS, *([] if name == TENANT else [None])])
    sql = _row("tenant", "name", name, "egress_pool", value)
    return Change((sql,), replace(state, tenants=_with(state.tenants, name, value)))


def _queue(state: State, rng: random.Random) -> Change:
    name = rng.choice([*QUEUES, "default"])
    value = rng.choice([*POOLS, *([] if name == "default" else [None])])
    sql = _row("queue", "domain", name, "egress_pool", value)
    return Change((sql,), replace(state, queues=_with(state.queues, name, value)))


_CHANGES: tuple[Callable[[State, random.Random], Change], ...] = (
    _domain,
    _source,
    _entries,
    _entries,
    _spare_pool,
    _tenant,
    _tenant,
    _queue,
    _queue,
)


def _row(table: str, key: str, name: str, column: str, value: Any) -> str:
    if value is None:
        return f"delete from policy.{table} where {key} = '{name}'"
    shown = str(value).lower() if isinstance(value, bool) else f"'{value}'"
    return (
        f"insert into policy.{table} ({key}, {column}) values ('{name}', {shown})"
        f" on conflict do nothing; update policy.{table} set {column} = {shown} where {key} = '{name}'"
    )


def _with(names: Names, name: str, value: Any) -> Names:
    """The rows with one more, or with one less for None."""
    return {key: old for key, old in {**names, name: value}.items() if old is not None}


def _nearest(names: Names, domain: str) -> Any:
    return next((names[name] for name in _chain(domain) if name in names), None)


def _chain(domain: str) -> Iterator[str]:
    yield domain
    while "." in domain:
        domain = domain.partition(".")[2]
        yield f"*.{domain}"
