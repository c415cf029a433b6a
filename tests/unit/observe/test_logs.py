"""Log lines: one for each noteworthy event, with nothing in them that could pass for another line."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policyd.observe import events, logs
from policyd.policy.position import Position
from tests.logged import logged

HERE = Position(105, "3f9a12bc")
Lines = Callable[[], list[str]]


@pytest.fixture
def log_to() -> Iterator[Callable[[str, Literal["text", "json"]], Lines]]:
    """Sets up logging as the service does, and returns what reads the lines since it was last called."""
    with contextlib.ExitStack() as stack:

        def set_up(level: str, form: Literal["text", "json"]) -> Lines:
            written = stack.enter_context(logged(level, form))

            def lines() -> list[str]:
                text = written.getvalue()
                written.seek(0)
                written.truncate()
                assert not text or text.endswith("\n")
                return text.split("\n")[:-1]

            return lines

        yield set_up


def make_logs(times: Iterator[float] | None = None) -> logs.Logs:
    return logs.Logs(clock=(lambda: 0.0) if times is None else lambda: next(times))


def refused(
    reason: str = "no such token, or not its secret", token: str | None = "mx"
) -> events.TokenRefused:
    return events.TokenRefused(token=token, reason=reason, peer="192.0.2.1")


def test_a_line_says_when_how_bad_what_and_each_value(log_to: Any) -> None:
    lines = log_to("info", "text")
    make_logs()(events.CurrencyLost(position=HERE, age=5.25))
    (line,) = lines()
    when, rest = line.split(" ", 1)
    assert when.endswith("Z")
    assert rest == "warning no longer current; answers are marked stale position=105-3f9a12bc age=5.25"


def test_a_line_of_json_is_the_same_as_an_object(log_to: Any) -> None:
    lines = log_to("info", "json")
    make_logs()(events.CurrencyLost(position=HERE, age=5.25))
    line = json.loads(lines()[0])
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "message": "no longer current; answers are marked stale",
        "position": "105-3f9a12bc",
        "age": 5.25,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(max_size=400), form=st.sampled_from(["text", "json"]))
def test_no_value_makes_a_second_line_or_another_field(
    log_to: Any, value: str, form: Literal["text", "json"]
) -> None:
    lines = log_to("debug", form)
    make_logs()(events.BackendLost(backend="postgresql", trouble="unreachable", reason=value, retry_in=0.5))
    (line,) = lines()
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["reason"] == value[:300]
        return
    reason = line.partition(" reason=")[2].rpartition(" retry_in=")[0]
    assert (json.loads(reason) if reason.startswith('"') else reason) == value[:300]
    assert reason.startswith('"') or not set(reason) & set(' "=\\')


def test_a_library_s_line_is_one_line_too_and_does_not_say_what_was_raised(log_to: Any) -> None:
    for form in ("text", "json"):
        lines = log_to("debug", form)
        try:
            int("Bearer canary.0123456789abcdefghij")
        except ValueError:
            logging.getLogger("asyncio").exception("Task failed\nfuture: %s", "x" * 1000)
        (line,) = lines()
        assert "canary" not in line
        assert "ValueError" in line
        assert "test_logs.py" in line
        assert len(line) < 700
        logging.getLogger("aiohttp.server").info("libraries are heard from warnings on")
        assert lines() == []


def test_an_error_of_ours_is_told_by_its_kind_and_place_and_not_by_what_it_says(log_to: Any) -> None:
    lines = log_to("info", "text")

    def fail() -> None:
        raise KeyError("Bearer canary.0123456789abcdefghij")

    with pytest.raises(KeyError) as raised:
        fail()
    make_logs()(events.RequestFailed(request_id="ab12", method="GET", route="queue", error=raised.value))
    (line,) = lines()
    assert "request_id=ab12 method=GET route=queue error=KeyError" in line
    assert " fail < " in line
    assert "canary" not in line


def test_the_same_trouble_is_told_once_a_minute_with_how_often_it_was_not(log_to: Any) -> None:
    lines = log_to("info", "text")
    log = make_logs(iter([0.0, 1.0, 59.0, 60.0, 61.0]))
    for _ in range(3):
        log(refused())
    assert len(lines()) == 1
    log(refused())
    (line,) = lines()
    assert "repeated=2" in line
    log(refused("token mx has expired"))
    assert len(lines()) == 1


def test_what_is_remembered_of_repeats_is_bounded(log_to: Any) -> None:
    log_to("error", "text")
    log = make_logs()
    for number in range(3_000):
        log(refused(f"token t{number} has expired"))
    assert len(log._written) <= 1_001


@pytest.mark.parametrize(
    ("level", "told"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_level_decides_what_is_written(log_to: Any, level: str, told: int) -> None:
    lines = log_to(level, "text")
    log = make_logs()
    log(events.ChangesRead(position=HERE, revisions=1, tags=1, floors=0, lag=0.0))
    log(events.BackendReached(backend="postgresql"))
    log(refused())
    log(events.HistoryReplaced(held=HERE, found=Position(1, "00000000")))
    log(events.NodeReported(node="mx", applied=HERE))
    log(events.BackendAnswered(backend="postgresql", operation="changes", seconds=0.1))
    assert len(lines()) == told


def test_everything_that_is_worth_a_line_has_one() -> None:
    without = {each.__name__ for each in events.Observation.__args__ if each not in logs._LEVELS}
    assert without <= {
        "AuthAttempted",
        "BackendAnswered",
        "NodeReported",
        "NodesRead",
        "DrillKeptTo",
    }  # counted, because there are many


def test_all_are_told() -> None:
    seen: list[events.Observation] = []
    logs.tee(seen.append, seen.append)(refused())
    assert seen == [refused(), refused()]


async def test_what_asyncio_says_of_a_lost_task_is_one_line(log_to: Any) -> None:
    lines = log_to("info", "text")
    asyncio.get_running_loop().call_exception_handler({"message": "SSL error", "protocol": object()})
    assert len(lines()) == 1
