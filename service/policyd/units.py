"""
Durations, times, sizes and addresses as people write them.

Every `parse_` raises ValueError with the half of a sentence that says what would have been right.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import NewType

Seconds = NewType("Seconds", float)
Bytes = NewType("Bytes", int)

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "day": "d", "week": "w"}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATION_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(today|yesterday)\s+)?(\d{1,2}:\d\d(?::\d\d)?)")
_ISO = re.compile(r"\dt\d|\dz$")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds: a host without brackets, and a port (0 lets the system choose)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost may be anything."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_duration(text: str) -> Seconds:
    """Seconds of `200ms`, `5s`, `1h30m`, `7d`, `10 minutes`, or of a plain number."""
    total, position = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != position:
            break
        number, unit = part.groups()
        alone = part.start() == 0 and part.end() == len(text)
        word = unit.lower() or ("s" if alone else "")
        scale = _SECONDS.get(_WORDS.get(word.removesuffix("s"), word))
        if scale is None:
            break
        total += float(number) * scale
        position = part.end()
    if position != len(text) or not text.strip():
        raise ValueError("is not a duration: write 200ms, 5s, 10m, 1h30m or 7d")
    return Seconds(total)


def parse_time(text: str, *, now: datetime) -> datetime:
    """
    The time that is meant by `2h` (ago), `today`, `yesterday`, `monday`, `14:30`, `yesterday 14:30` or ISO 8601.

    What names no zone is in this machine's; a day begins at midnight; a day of the week is the last one.
    """
    written = " ".join(text.lower().split()).removesuffix(" ago")
    try:
        return _named_time(written, now.astimezone()) or datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise ValueError("is not a time: write 2h, yesterday, 14:30 or 2026-08-05T14:30") from None


def _named_time(written: str, now: datetime) -> datetime | None:
    today = datetime.combine(now.date(), time())
    if written in ("now", "today"):
        return now if written == "now" else today.astimezone()
    if written == "yesterday":
        return (today - timedelta(days=1)).astimezone()
    if written in _DAYS:
        return (today - timedelta(days=(now.weekday() - _DAYS.index(written)) % 7)).astimezone()
    if clock := _CLOCK.fullmatch(written):
        day = now.date() - timedelta(days=clock[1] == "yesterday")
        return datetime.combine(day, time.fromisoformat(clock[2].zfill(5))).astimezone()
    if written[:1].isdigit() and written[-1:].isalpha() and not _ISO.search(written):
        return now - timedelta(seconds=parse_duration(written))
    return None


def parse_size(text: str) -> Bytes:
    """Bytes of `64KiB`, `256 MiB`, `1GB`, or of a plain number."""
    match = _SIZE.fullmatch(text)
    scale = _BYTES.get(match[2].lower()) if match else None
    if match is None or scale is None:
        raise ValueError("is not a size: write 65536, 64KiB, 256MiB or 1GiB")
    return Bytes(round(float(match[1]) * scale))


def parse_address(text: str) -> Address:
    """Address of `127.0.0.1:8085`, `[::1]:8085` or `localhost:8085`."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host.strip("[]") if bracketed else host
    if not colon or not plain or (":" in plain and not bracketed):
        raise ValueError("is not an address: write 127.0.0.1:8085 or [::1]:8085")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65_535):
        raise ValueError("has no port: write 127.0.0.1:8085 or [::1]:8085")
    return Address(plain, int(port))


def parse_boolean(text: str) -> bool:
    """Truth of `true`, `yes`, `on`, `1` and their opposites."""
    match text.strip().lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
        case _:
            raise ValueError("is neither true nor false")


def render_duration(seconds: float) -> str:
    """What `parse_duration` reads back, in the largest unit that needs no fraction."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0 and (unit != "w"):
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    milliseconds = seconds * 1000
    return (
        f"{milliseconds:.0f}ms" if milliseconds == round(milliseconds) and seconds < 1 else f"{seconds:.9g}s"
    )


def render_size(size: int) -> str:
    """What `parse_size` reads back, in the largest unit that needs no fraction."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)
