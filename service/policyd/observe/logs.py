"""Observations as log lines: one line for each noteworthy event, values escaped and cut."""

import json
import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Literal

from policyd.observe.events import (
    AuthLimited,
    BackendFailed,
    BackendLost,
    BackendReached,
    CertificateRead,
    CertificateRefused,
    ChangesRead,
    CurrencyLost,
    CurrencyRegained,
    DrillBegan,
    DrillEnded,
    HistoryPruned,
    HistoryReplaced,
    KeyChanged,
    KeySent,
    KeyUnusable,
    NodesForgotten,
    Observation,
    Observer,
    ReloadAsked,
    RequestFailed,
    RequestShed,
    ServiceStarted,
    ServiceStopping,
    TokenRefused,
    VaultCredentialRefused,
    VaultTokenGranted,
)

_LONGEST_VALUE = 300
_REPEAT_AFTER = 60.0
"""Seconds after which the same trouble may be logged again."""

_LEVELS: dict[type[Any], tuple[int, str]] = {
    BackendLost: (logging.WARNING, "backend lost"),
    BackendFailed: (logging.WARNING, "a request could not be answered"),
    BackendReached: (logging.INFO, "backend reached"),
    VaultTokenGranted: (logging.DEBUG, "vault granted a token"),
    VaultCredentialRefused: (logging.ERROR, "vault refused the credential of policyd"),
    ChangesRead: (logging.DEBUG, "changes read"),
    HistoryReplaced: (logging.ERROR, "the database has another history; everything cached was dropped"),
    HistoryPruned: (logging.INFO, "the change log was pruned"),
    CurrencyLost: (logging.WARNING, "no longer current; answers are marked stale"),
    CurrencyRegained: (logging.INFO, "current"),
    TokenRefused: (logging.WARNING, "token refused"),
    AuthLimited: (logging.WARNING, "too many failed logins; more are told to come later"),
    NodesForgotten: (logging.INFO, "silent nodes were forgotten"),
    KeySent: (logging.INFO, "private key sent"),
    KeyChanged: (logging.WARNING, "a private key was replaced where it is kept"),
    KeyUnusable: (logging.ERROR, "a private key cannot be used"),
    DrillBegan: (logging.WARNING, "a drill is on: lookups fail on purpose"),
    DrillEnded: (logging.WARNING, "the drill is over"),
    RequestShed: (logging.WARNING, "more is asked for than can be done; some are told to come again"),
    RequestFailed: (logging.ERROR, "request failed"),
    ReloadAsked: (logging.INFO, "SIGHUP: a certificate is read again, settings at a restart"),
    CertificateRead: (logging.INFO, "certificate read again"),
    CertificateRefused: (logging.ERROR, "certificate not replaced; the old one stays"),
    ServiceStarted: (logging.INFO, "started"),
    ServiceStopping: (logging.INFO, "stopping"),
}


class Logs:
    """The sink that writes lines; what repeats is written once a minute, with how often it was left out."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logger = logging.getLogger("policyd")
        self._written: dict[tuple[object, ...], tuple[float, int]] = {}

    def __call__(self, observation: Observation) -> None:
        """Write *observation*, if it is one that is logged."""
        found = _LEVELS.get(type(observation))
        if found is None:
            return
        level, message = found
        left_out = self._repeats(observation)
        if left_out is None:
            return
        values = {each.name: getattr(observation, each.name) for each in fields(observation)}
        error = values.pop("error", None)
        if left_out:
            values["repeated"] = left_out
        if isinstance(error, BaseException):
            values |= _failure(error)
        self._logger.log(level, message, extra={"values": values})

    def _repeats(self, observation: Observation) -> int | None:
        if not isinstance(
            observation, AuthLimited | BackendLost | BackendFailed | KeyUnusable | RequestShed | TokenRefused
        ):
            return 0
        key = (type(observation), *(getattr(observation, each, "") for each in ("backend", "name", "reason")))
        now = self._clock()
        since, left_out = self._written.get(key, (float("-inf"), 0))
        if now - since < _REPEAT_AFTER:
            self._written[key] = (since, left_out + 1)
            return None
        if len(self._written) > 1_000:
            self._written.clear()
        self._written[key] = (now, 0)
        return left_out


def tee(*observers: Observer) -> Observer:
    """An observer that tells all of *observers*."""

    def observe(observation: Observation) -> None:
        for observer in observers:
            observer(observation)

    return observe


def set_up_logging(*, level: str, form: Literal["text", "json"]) -> None:
    """Write policyd's lines to standard error, and warnings of libraries with them."""
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(logging.WARNING)
    logging.getLogger("policyd").setLevel(level.upper())


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = _message(record)
        words = [
            _time(record),
            record.levelname.lower(),
            text if text.isprintable() else json.dumps(text, ensure_ascii=False),
        ]
        return " ".join(words + [f"{name}={_escaped(value)}" for name, value in _values(record).items()])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower(), "message": _message(record)}
        return json.dumps(line | {name: _plain(value) for name, value in _values(record).items()})


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _message(record: logging.LogRecord) -> str:
    return record.getMessage()[:_LONGEST_VALUE]


def _values(record: logging.LogRecord) -> dict[str, Any]:
    """The values of an observation; of a library's line, which logger it came from and what was raised."""
    values: dict[str, Any] | None = getattr(record, "values", None)
    if values is not None:
        return values
    error = record.exc_info[1] if record.exc_info else None
    return {"logger": record.name} | ({} if error is None else _failure(error))


def _failure(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "at": _where(error)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    return round(value, 6) if isinstance(value, float) else str(value)[:_LONGEST_VALUE]


def _escaped(value: Any) -> str:
    text = str(_plain(value))
    return text if text and text.isprintable() and not set(text) & set(' "=\\') else json.dumps(text)


def _where(error: BaseException) -> str:
    """Where it was raised, innermost first; not what it says, because that may quote what somebody sent."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
