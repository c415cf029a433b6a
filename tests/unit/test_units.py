from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.units import (
    Address,
    parse_address,
    parse_boolean,
    parse_duration,
    parse_size,
    parse_time,
    render_duration,
    render_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0.2", 0.2),
        ("200ms", 0.2),
        ("5s", 5),
        ("10 m", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("5S", 5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", " ", "s", "5 parsecs", "1h30", "-1s", "1e3s", "5s!", "5ss", "٣s"[1:]])
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="write 200ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("64KiB", 65_536), ("256 MiB", 2**28), ("1GB", 10**9), ("1.5kib", 1536), ("10b", 10)],
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1 XB", "-1", "1 2"])
def test_what_is_no_size_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="write 65536"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8085", Address("127.0.0.1", 8085)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65_535)),
    ],
)
def test_an_address_is_read_and_written_back(text, address):
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "8085", ":8085", "::1:8085", "[::1]", "host:", "host:65536", "host:x", "host:²"]
)
def test_what_is_no_address_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:8085"):
        parse_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_addresses_are_known(host):
    assert Address(host, 1).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "127.0.0.1.example.com"])
def test_everything_else_may_be_reached_from_elsewhere(host):
    assert not Address(host, 1).is_loopback


def test_booleans_are_read_in_four_spellings():
    assert [parse_boolean(text) for text in ("true", "YES", "on", "1")] == [True] * 4
    assert [parse_boolean(text) for text in ("false", "no", "Off", "0")] == [False] * 4
    with pytest.raises(ValueError, match="neither true nor false"):
        parse_boolean("maybe")


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_is_written_as_it_is_read(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(render_duration(seconds)) == pytest.approx(seconds)


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_is_written_as_it_is_read(size):
    assert parse_size(render_size(size)) == size


def local(*parts: int) -> datetime:
    return datetime(*parts).astimezone()  # type: ignore[arg-type]


NOW = local(2026, 8, 5, 14, 20)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2h", local(2026, 8, 5, 12, 20)),
        ("2 hours ago", local(2026, 8, 5, 12, 20)),
        ("20 min ago", local(2026, 8, 5, 14, 0)),
        ("1h30m ago", local(2026, 8, 5, 12, 50)),
        ("7d", local(2026, 7, 29, 14, 20)),
        ("now", local(2026, 8, 5, 14, 20)),
        ("today", local(2026, 8, 5)),
        ("Yesterday", local(2026, 8, 4)),
        ("yesterday 9:15", local(2026, 8, 4, 9, 15)),
        ("14:30", local(2026, 8, 5, 14, 30)),
        ("today 14:30:05", local(2026, 8, 5, 14, 30, 5)),
        ("monday", local(2026, 8, 3)),
        ("wednesday", local(2026, 8, 5)),
        ("thursday", local(2026, 7, 30)),
        ("2026-08-01", local(2026, 8, 1)),
        ("2026-08-01T10:00", local(2026, 8, 1, 10)),
        ("2026-08-01 10:00:30", local(2026, 8, 1, 10, 0, 30)),
        ("2026-08-01T10:00Z", datetime(2026, 8, 1, 10, tzinfo=UTC)),
        ("2026-08-01T10:00+02:00", datetime(2026, 8, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_people_write_it(text, time):
    assert parse_time(text, now=NOW) == time


@pytest.mark.parametrize("text", ["", "soon", "105", "2 parsecs", "25:00", "yesterday 9", "-2h", "2026-13-01", "ago", "9999999999w"])  # fmt: skip
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="write 2h, yesterday, 14:30 or 2026-08-05T14:30"):
        parse_time(text, now=NOW)
