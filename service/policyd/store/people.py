"""What a person does in SQL: who they are, and statements of their own."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from policyd.errors import StatementRefused
from policyd.store.pool import Connection, translated

_TOKEN = re.compile(
    r"""
      (?P<quoted>  [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<dollar>  (?<![\w$])\$(?P<tag>[A-Za-z_]\w*)?\$ .*? \$(?(tag)(?P=tag))\$ )
    | (?P<line>    --[^\n]* )
    | (?P<comment> /\* )
    | (?P<end>     ; )
    | (?P<word>    [A-Za-z_][\w$]* )
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_TRANSACTION = re.compile(
    r"\s*(begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction|vacuum|checkpoint"
    r"|(create|drop)\s+(database|tablespace)|alter\s+system)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one statement gave: its command tag, and rows where it returns rows."""

    status: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


async def act_as(connection: Connection, *, actor: str, reason: str | None) -> None:
    """Say for the whole session on whose behalf changes are made, and why; the log keeps the login beside it."""
    with translated():
        await connection.execute("select set_config('policy.actor', $1, false)", actor)
        if reason:
            await connection.execute("select set_config('policy.reason', $1, false)", reason)


@asynccontextmanager
async def in_one_transaction_if_possible(
    connection: Connection, statements: Sequence[str]
) -> AsyncIterator[None]:
    """As psql -c does it: several statements together succeed or fail, unless they say otherwise themselves."""
    if len(statements) < 2 or any(minds_its_transaction(each) for each in statements):
        yield
        return
    transaction = connection.transaction()
    with translated():
        await transaction.start()
    try:
        yield
    except BaseException:
        with translated():
            await transaction.rollback()
        raise
    with translated():
        await transaction.commit()


def minds_its_transaction(statement: str) -> bool:
    """Whether a statement begins, ends or cannot stand a transaction around it."""
    return _NO_TRANSACTION.match(uncommented(statement)) is not None


async def execute(connection: Connection, statement: str) -> Result:
    """Result of one statement."""
    with translated():
        prepared = await connection.prepare(statement)
        rows = await prepared.fetch()
        return Result(
            status=prepared.get_statusmsg() or "",
            columns=tuple(attribute.name for attribute in prepared.get_attributes()),
            rows=[tuple(row.values()) for row in rows],
        )


def split(text: str) -> list[str]:
    """The statements of a script, without the semicolons between them."""
    return [statement for statement in _statements(text) if uncommented(statement).strip()]


def uncommented(statement: str) -> str:
    """*statement* from its first word on."""
    position = 0
    while match := re.compile(r"\s+|--[^\n]*").match(statement, position):
        position = match.end()
    if statement.startswith("/*", position):
        return uncommented(statement[_comment_end(statement, position) :])
    return statement[position:]


def _statements(text: str) -> Iterator[str]:
    start, position, words, depth = 0, 0, [""], 0
    while match := _TOKEN.search(text, position):
        position = match.end()
        word = (match["word"] or "").lower()
        if match["comment"]:
            position = _comment_end(text, match.start())
        elif word:
            # The body of an SQL function, `begin atomic … end`, has semicolons of its own.
            if (words[-1], word) == ("begin", "atomic") or (depth and word == "case"):
                depth += 1
            elif depth and word == "end":
                depth -= 1
            words.append(word)
        elif match["end"] and not depth:
            yield text[start : match.start()].strip()
            start, words = position, [""]
    yield text[start:].strip()


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise StatementRefused("a comment /* is not closed", sqlstate="42601")
