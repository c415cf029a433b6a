"""What a PostgreSQL that was killed leaves in /proc, moment by moment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from policyd.errors import EmbeddedUnavailable
from policyd.store.embedded import leftovers
from policyd.store.embedded.leftovers import Found, clear


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def seen(monkeypatch: pytest.MonkeyPatch, *moments: list[Found]) -> None:
    """Let /proc show these, one after the other, and then nothing."""
    waiting: Iterator[list[Found]] = iter(moments)
    monkeypatch.setattr(leftovers, "processes", lambda _: next(waiting, []))


def test_a_process_that_is_just_ending_is_waited_for(monkeypatch, data):
    ending = Found(4711, ())
    seen(monkeypatch, [ending], [ending], [ending], [])
    clear(data, data)


def test_a_process_of_somebody_else_is_named(monkeypatch, data):
    seen(monkeypatch, [Found(4711, ("postgres", "-D", "theirs"))])
    with pytest.raises(EmbeddedUnavailable, match=r"process 4711 uses .* postgres -D theirs"):
        clear(data, data)
