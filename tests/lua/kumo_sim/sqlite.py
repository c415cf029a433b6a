"""kumod's sqlite module, with its ways: booleans refused, an empty row for no rows, only the first statement run."""

import asyncio
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, decoded, integer_of, plain, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

_BUSY = 5


class _Named(dict[str, Any]):
    def __missing__(self, key: str) -> None:
        return None


class Conn(Userdata):
    """A connection."""

    sync = ("close",)
    awaiting = ("execute",)

    def __init__(self, process: "Process", path: str, busy_timeout: float) -> None:
        self._process = process
        self._busy_timeout = busy_timeout
        self._is_full = False
        try:
            self._db: sqlite3.Connection | None = sqlite3.connect(path, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise _translated(error) from None
        self._db.text_factory = bytes

    def close(self) -> tuple[()]:
        if self._db is not None:
            self._db.close()
            self._db = None
        return ()

    async def execute(self, sql: Any, *params: Any) -> Any:
        text = text_of(sql)
        given = plain(params[0]) if len(params) == 1 else [plain(param) for param in params] or None
        bound = _bound(text, given)
        until = time.monotonic() + self._busy_timeout
        while True:
            try:
                return self._execute(_first_statement(text), bound)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code != _BUSY or time.monotonic() >= until:
                    raise _translated(error) from None
            except UnicodeDecodeError:
                # Python cannot read what sqlite says of a damaged file, in which it quotes that.
                raise KumoError("malformed database schema (code 11)") from None
            await asyncio.sleep(0.005)

    def _execute(self, sql: str, bound: Any) -> Any:
        if self._db is None:
            raise KumoError("connection was closed")
        if self._is_full != self._process.disk_full:
            self._is_full = self._process.disk_full
            # No page more than there are: what needs one gets SQLITE_FULL from sqlite itself.
            most = 1 if self._is_full else 1073741823
            self._db.execute(f"pragma max_page_count = {most}").close()
        cursor = self._db.execute(sql, self._fitting(sql, bound))
        if cursor.description is None:
            return self._db.execute("select changes()").fetchone()[0]
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
        if len(names) == 1:
            return [row[0] for row in rows]
        if not rows:
            return [{}]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _fitting(self, sql: str, bound: Any) -> Any:
        """Positional parameters as many as there are places: sqlite leaves the others null."""
        if isinstance(bound, dict):
            return bound
        assert self._db is not None
        try:
            self._db.execute(f"explain {sql}", bound).close()
        except sqlite3.ProgrammingError as error:
            found = re.search(r"uses (\d+), and there are (\d+)", str(error))
            if found is None or int(found[1]) < len(bound):
                raise KumoError("column index out of range (code 25)") from None
            return [*bound, *[None] * (int(found[1]) - len(bound))]
        except (sqlite3.Error, UnicodeDecodeError):
            pass
        return bound


def open_database(process: "Process", path: Any, busy_timeout: Any = None) -> Conn:
    """sqlite.open; the timeout is in real milliseconds."""
    milliseconds = 500 if busy_timeout is None else integer_of(busy_timeout)
    connection = Conn(process, text_of(path), milliseconds / 1000)
    process.connections.append(connection)
    return connection


def _bound(sql: str, given: Any) -> Any:
    if given is None:
        return []
    if isinstance(given, dict):
        named = _Named()
        for name, value in decoded(given).items():
            _must_bind(sql, given, f"binding parameter :{name}", value)
            named[name] = value
        return named
    values = given if isinstance(given, list) else [given]
    for i, value in enumerate(values, 1):
        what = f"binding parameter {i}" if isinstance(given, list) else "binding sole parameter"
        _must_bind(sql, given, what, value)
    return decoded(values)


def _must_bind(sql: str, given: Any, what: str, value: Any) -> None:
    if isinstance(value, bool | list | dict) or (
        isinstance(value, str) and "\udc80" <= max(value, default="") <= "\udcff"
    ):
        raise KumoError(
            f"bind parameters {_debug(given)} in query `{sql}': {what} with value {_debug(value)}: "
            "only numbers, strings and nil can be passed as parameter values"
        )


def _debug(value: Any) -> str:
    """As serde_json's values are shown."""
    value = decoded(value)
    if isinstance(value, bool):
        return f"Bool({str(value).lower()})"
    if isinstance(value, dict):
        return "Object {" + ", ".join(f'"{key}": {_debug(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "Array [" + ", ".join(map(_debug, value)) + "]"
    return f'String("{value}")' if isinstance(value, str) else "Null" if value is None else f"Number({value})"


def _first_statement(sql: str) -> str:
    for found in re.finditer(";", sql):
        if sqlite3.complete_statement(sql[: found.end()]):
            return sql[: found.end()]
    return sql


def _translated(error: sqlite3.Error) -> KumoError:
    code = getattr(error, "sqlite_errorcode", 1) & 0xFF
    return KumoError(f"{error} (code {code})")
