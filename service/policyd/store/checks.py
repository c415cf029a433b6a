"""Questions about policy as a whole, each in one statement: `checks.sql`, and what the catalogue says of every row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from policyd.errors import StatementRefused
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES, parse_queries

CHECKS: Final = parse_queries(files("policyd.store").joinpath("checks.sql").read_text())
REFUSED: Final = "refused_options"
TOO_NEW: Final = "options_that_nodes_do_not_know"
DANGLING: Final = "reference_to_nothing"
_NOT_ALLOWED = "42501"

_JUDGED = """
select c.relname as "table", split.objects
from pg_catalog.pg_trigger as t
join pg_catalog.pg_class as c on c.oid = t.tgrelid
cross join lateral (
  -- The arguments stand one after the other, each ended by a zero byte.
  select array_remove(string_to_array(replace(encode(t.tgargs, 'escape'), '\\000', ','), ','), '') as objects) as split
where t.tgname = 't100_check_options_insert' and c.relnamespace = 'policy'::regnamespace
order by c.relname
"""

_REFUSED = """
with judged as (
  select distinct policy.record({object}, to_jsonb(t))::text as record from policy.{table} as t
), bad as (
  select j.record, p.problem from judged as j, policy.problems({object}, j.record::jsonb) as p
)
select t.tag, format('%s: %s', policy.described('policy.{table}'::regclass, to_jsonb(t)), b.problem) as says
from bad as b join policy.{table} as t on policy.record({object}, to_jsonb(t))::text = b.record
"""

_TOO_NEW = """
with judged as (
  select distinct policy.record({object}, to_jsonb(t))::text as record from policy.{table} as t
), bad as (
  select distinct j.record, o.name, o.since, n.nodes
  from judged as j, policy.uses(j.record::jsonb) as u (name), policy.option as o, policy.old_nodes(o.since) as n (nodes)
  where o.object = {object} and o.name = u.name and o.since is not null and n.nodes is not null
)
select t.tag, format('%s: %s needs KumoMTA %s, and older are %s',
                     policy.described('policy.{table}'::regclass, to_jsonb(t)), b.name, b.since, b.nodes) as says
from bad as b join policy.{table} as t on policy.record({object}, to_jsonb(t))::text = b.record
"""


_REFERENCES = """
select k.conrelid::regclass::text as "table", k.confrelid::regclass::text as parent,
       string_agg(format('p.%I = t.%I', f.attname, c.attname), ' and ' order by pair.position) as same,
       string_agg(format('t.%I is not null', c.attname), ' and ' order by pair.position) as given,
       string_agg(format('t.%I::text', c.attname), ', ' order by pair.position) as named,
       (select string_agg(format('%L, t.%I', key.name, key.name), ', ') from unnest(policy.key_columns(k.conrelid)) as key (name)) as key
from pg_catalog.pg_constraint as k
cross join lateral unnest(k.conkey, k.confkey) with ordinality as pair (child, parent, position)
join pg_catalog.pg_attribute as c on c.attrelid = k.conrelid and c.attnum = pair.child
join pg_catalog.pg_attribute as f on f.attrelid = k.confrelid and f.attnum = pair.parent
where k.contype = 'f' and k.connamespace = 'policy'::regnamespace
  and exists (select from pg_catalog.pg_attribute as a where a.attrelid = k.conrelid and a.attname = 'tag')
group by k.oid, k.conrelid, k.confrelid
order by 1, 2
"""

_DANGLING = """
select t.tag, format('%s: there is no {parent} %L', policy.described('{table}'::regclass, jsonb_build_object({key})),
                     array_to_string(array[{named}], ' ')) as says
from {table} as t where {given} and not exists (select from {parent} as p where {same})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a check found: a document, a sentence about it, and how bad it is, where that depends."""

    tag: str
    says: str
    severity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check found, as far as it was wanted, and how much there was; None: whoever asked may not look."""

    told: list[Told]
    count: int | None


async def check(connection: Connection, name: str, *, most: int) -> Answer:
    """What the check of this name finds, at most so many."""
    return await _ask(connection, CHECKS[name], most)


async def check_options(connection: Connection, name: str, *, most: int) -> Answer:
    """What the catalogue of options says against rows of every table: `REFUSED` or `TOO_NEW`."""
    template = {REFUSED: _REFUSED, TOO_NEW: _TOO_NEW}[name]
    with translated():
        judged = await connection.fetch(_JUDGED)
    # Names are those of the schema's own triggers.
    statements = [
        template.format(table=row["table"], object=f"'{each}'") for row in judged for each in row["objects"]
    ]
    return await _ask_all(connection, statements, most)


async def check_references(connection: Connection, *, most: int) -> Answer:
    """Rows whose parents are not there: foreign keys see to that, unless a restore went past them."""
    with translated():
        references = await connection.fetch(_REFERENCES)
    return await _ask_all(connection, [_DANGLING.format(**dict(row)) for row in references], most)


async def _ask_all(connection: Connection, statements: Sequence[str], most: int) -> Answer:
    answers = [await _ask(connection, statement, most) for statement in statements]
    told = [each for answer in answers for each in answer.told]
    counts = [answer.count for answer in answers if answer.count is not None]
    is_whole = len(counts) == len(answers)
    return Answer(told=told[:most], count=sum(counts) if is_whole else None)


async def read_bodies(connection: Connection) -> list[tuple[str, Mapping[str, Any]]]:
    """Every document that kumod's constructors are given, by tag."""
    with translated():
        rows = await connection.fetch(QUERIES["bodies"])
    # json, not orjson: kumod is to see 5.0 where the row has 5.0, and as many digits.
    return [(row["tag"], json.loads(row["body"])) for row in rows]


async def _ask(connection: Connection, statement: str, most: int) -> Answer:
    asked = (
        f"select f.*, count(*) over () as several from ({statement}) as f"  # noqa: S608 -- of checks.sql, or made above
        # The worst first, because what is cut off must not decide.
        " order by array_position('{error,warning,note}'::text[], to_jsonb(f) ->> 'severity'), f.tag, f.says limit $1"
    )
    try:
        with translated():
            async with (
                connection.transaction()
            ):  # a savepoint: one that may not be asked must not end the reading
                rows = await connection.fetch(asked, most)
    except StatementRefused as error:
        if error.sqlstate != _NOT_ALLOWED:
            raise
        return Answer(told=[], count=None)
    told = [Told(tag=row["tag"], says=row["says"], severity=row.get("severity")) for row in rows]
    return Answer(told=told, count=rows[0]["several"] if rows else 0)
