"""Metrics: every name of the design that exists so far, with label sets that nobody outside can widen."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from policyd.live.tally import BOUNDS, OUTCOMES, Tally
from policyd.observe import events
from policyd.observe.metrics import Metrics, State
from policyd.policy.node import NodeState
from policyd.policy.position import Position

NAMES = {
    "policyd_lookups_total": {"kind", "outcome"},
    "policyd_lookup_duration_seconds_count": {"kind"},
    "policyd_backend_up": {"backend"},
    "policyd_backend_request_duration_seconds_count": {"backend", "operation"},
    "policyd_revision": set(),
    "policyd_current": set(),
    "policyd_changes_total": set(),
    "policyd_change_lag_seconds": set(),
    "policyd_cache_bytes": set(),
    "policyd_cache_entries": set(),
    "policyd_node_applied_revision": {"node"},
    "policyd_node_lag_seconds": {"node"},
    "policyd_node_last_seen_timestamp_seconds": {"node"},
    "policyd_node_answers_total": {"node", "outcome"},
    "policyd_build_info": {"version"},
    "policyd_history_resets_total": set(),
    "policyd_tokens_refused_total": set(),
    "policyd_requests_failed_total": set(),
    "policyd_auth_attempts_total": {"outcome"},
    "policyd_backend_troubles_total": {"backend", "trouble"},
    "policyd_requests_shed_total": {"bottleneck"},
    "policyd_lookups_pending": set(),
    "policyd_connections": set(),
    "policyd_connections_limit": set(),
    "policyd_drills": set(),
    "policyd_drilled_requests_total": {"kind"},
}


def make_metrics(
    *kinds: str, revision: Callable[[], int] = lambda: 7, clock: Callable[[], float] = lambda: 0.0
) -> tuple[Metrics, dict[str, Tally]]:
    tallies = {kind: Tally() for kind in kinds or ("queue",)}
    metrics = Metrics(
        version="1.2.3",
        tallies=tallies,
        bounds=BOUNDS,
        state=lambda: State(
            revision=revision(),
            current=True,
            cache_bytes=100,
            cache_entries=2,
            connections=3,
            most_connections=9,
        ),
        clock=clock,
    )
    return metrics, tallies


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The value of one sample; None where there is none."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        for each in family.samples:
            if each.name == name and each.labels == labels:
                return each.value
    return None


def test_every_name_is_exported_with_its_labels_from_the_first_scrape_that_can_have_it() -> None:
    metrics, _ = make_metrics()
    metrics(events.BackendAnswered(backend="postgresql", operation="documents", seconds=0.01))
    metrics(events.NodeReported(node="mx-1", applied=Position(5, "00000000")))
    metrics(events.DrillKeptTo(kind="dkim"))
    metrics(events.BackendFailed(backend="postgresql", trouble="full", reason="too many connections"))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for each in family.samples:
            found.setdefault(each.name, set()).update(each.labels)
    assert {name: found.get(name) for name in NAMES} == NAMES
    labels = {label for each in found.values() for label in each}
    assert labels == {
        "kind",
        "outcome",
        "backend",
        "operation",
        "node",
        "version",
        "le",
        "trouble",
        "bottleneck",
    }


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_answer_is_counted_with_its_outcome_and_duration(outcome: str) -> None:
    metrics, tallies = make_metrics("queue", "tenant")
    tallies["queue"].count(outcome, 0.0003)
    tallies["queue"].count(outcome, 9.0)
    assert sample(metrics, "policyd_lookups_total", kind="queue", outcome=outcome) == 2
    assert sample(metrics, "policyd_lookups_total", kind="tenant", outcome=outcome) == 0
    assert sample(metrics, "policyd_lookup_duration_seconds_count", kind="queue") == 2
    assert sample(metrics, "policyd_lookup_duration_seconds_sum", kind="queue") == pytest.approx(9.0003)
    assert sample(metrics, "policyd_lookup_duration_seconds_bucket", kind="queue", le="0.00025") == 0
    assert sample(metrics, "policyd_lookup_duration_seconds_bucket", kind="queue", le="0.0005") == 1
    assert sample(metrics, "policyd_lookup_duration_seconds_bucket", kind="queue", le="+Inf") == 2


def test_an_outcome_is_one_of_a_closed_set() -> None:
    with pytest.raises(KeyError):
        Tally().count("stolen", 0.1)


def test_a_backend_is_down_until_it_is_reached_and_when_it_is_lost() -> None:
    metrics, _ = make_metrics()
    up = [sample(metrics, "policyd_backend_up", backend="postgresql")]
    metrics(events.BackendReached(backend="postgresql"))
    up.append(sample(metrics, "policyd_backend_up", backend="postgresql"))
    metrics(events.BackendLost(backend="postgresql", trouble="unreachable", reason="gone", retry_in=1.0))
    up.append(sample(metrics, "policyd_backend_up", backend="postgresql"))
    assert up == [0, 1, 0]


def test_what_happens_moves_its_counter() -> None:
    metrics, _ = make_metrics()
    here = Position(9, "00000000")
    metrics(events.ChangesRead(position=here, revisions=3, tags=5, floors=0, lag=0.25))
    metrics(events.HistoryReplaced(held=here, found=here))
    metrics(events.TokenRefused(token="mx", reason="expired", peer="192.0.2.1"))
    metrics(events.RequestFailed(request_id="1", method="GET", route="queue", error=ValueError()))
    metrics(events.BackendAnswered(backend="postgresql", operation="changes", seconds=0.003))
    metrics(events.RequestShed(bottleneck="line", reason="it waits too long already"))
    metrics(events.BackendFailed(backend="postgresql", trouble="full", reason="too many connections"))
    assert sample(metrics, "policyd_requests_shed_total", bottleneck="line") == 1
    assert sample(metrics, "policyd_requests_shed_total", bottleneck="tokens") == 0
    full = {"backend": "postgresql", "trouble": "full"}
    assert sample(metrics, "policyd_backend_troubles_total", **full) == 1
    assert sample(metrics, "policyd_changes_total") == 3
    assert sample(metrics, "policyd_change_lag_seconds") == 0.25
    assert sample(metrics, "policyd_history_resets_total") == 1
    assert sample(metrics, "policyd_tokens_refused_total") == 1
    assert sample(metrics, "policyd_requests_failed_total") == 1
    timed = {"backend": "postgresql", "operation": "changes"}
    assert sample(metrics, "policyd_backend_request_duration_seconds_count", **timed) == 1


def test_a_thousand_nodes_are_shown_and_no_more() -> None:
    metrics, _ = make_metrics()
    for number in range(1_005):
        metrics(events.NodeReported(node=f"mx-{number}", applied=Position(number, "00000000")))
    metrics(events.NodeReported(node="mx-3", applied=Position(2_000, "00000000")))
    metrics(events.NodeReported(node="silent", applied=None))
    text = metrics.render().decode()
    assert len(re.findall(r"^policyd_node_applied_revision{", text, re.MULTILINE)) == 1_000
    assert sample(metrics, "policyd_node_applied_revision", node="mx-3") == 2_000


def test_two_services_in_one_process_count_apart() -> None:
    first, _ = make_metrics()
    second, _ = make_metrics()
    first(events.HistoryReplaced(held=Position(1, "00000000"), found=Position(1, "00000000")))
    assert sample(second, "policyd_history_resets_total") == 0


def test_a_node_lags_since_the_first_revision_that_it_has_not_applied_was_known() -> None:
    now, head = [0.0], [10]
    metrics, _ = make_metrics(revision=lambda: head[0], clock=lambda: now[0])

    def read(at: float, number: int) -> None:
        now[0], head[0] = at, number
        metrics(
            events.ChangesRead(position=Position(number, "00000000"), revisions=1, tags=1, floors=0, lag=0.0)
        )

    def lag(applied: int) -> float | None:
        metrics(events.NodeReported(node="mx", applied=Position(applied, "00000000")))
        return sample(metrics, "policyd_node_lag_seconds", node="mx")

    now[0] = 5.0
    assert [lag(10), lag(9), lag(11)] == [0, 5, 0]
    read(20.0, 11)
    read(30.0, 14)
    now[0] = 40.0
    assert [lag(9), lag(10), lag(11), lag(13), lag(14), lag(15)] == [20, 20, 10, 10, 0, 0]
    metrics(events.HistoryReplaced(held=Position(14, "00000000"), found=Position(3, "11111111")))
    head[0], now[0] = 3, 41.0
    assert [lag(2), lag(3)] == [1, 0]


def state(node: str, applied: int | None, **said: Any) -> NodeState:
    """A node as the database tells of it; one that has everything unless it is *said* to wait."""
    some_day = datetime(2026, 8, 4, tzinfo=UTC)
    given: dict[str, Any] = {
        "is_ours": True,
        "behind": 0,
        "waits_for": None,
        "live": True,
        "in_touch": True,
        "silent_for": 0.0,
        "counts": {},
    }
    nothing: dict[str, Any] = dict.fromkeys(
        ("group", "token", "kumomta_version", "client_version", "error", "error_at")
    )
    position = None if applied is None else Position(applied, "00000000")
    times = {"first_seen": some_day, "last_seen": some_day}
    return NodeState(node_id=node, applied=position, **(nothing | times | given | said))


def test_a_node_that_reports_elsewhere_is_shown_as_the_database_tells() -> None:
    now = [100.0]
    metrics, _ = make_metrics(revision=lambda: 9, clock=lambda: now[0])
    metrics(events.NodeReported(node="moved", applied=Position(3, "00000000")))
    metrics(events.NodeReported(node="gone", applied=Position(3, "00000000")))
    metrics(
        events.NodesRead(
            nodes=(
                state("moved", 9, counts={"stale": 4, "surprise": 1}, silent_for=2.0),
                state("slow", 7, waits_for=30.0),
                state("mute", None, waits_for=5.0),
            )
        )
    )
    now[0] = 101.0
    assert sample(metrics, "policyd_node_applied_revision", node="moved") == 9
    assert sample(metrics, "policyd_node_lag_seconds", node="moved") == 0
    assert sample(metrics, "policyd_node_lag_seconds", node="slow") == 31
    assert sample(metrics, "policyd_node_answers_total", node="moved", outcome="stale") == 4
    assert sample(metrics, "policyd_node_answers_total", node="moved", outcome="unknown") == 0
    assert sample(metrics, "policyd_node_answers_total", node="moved", outcome="surprise") is None
    seen = sample(metrics, "policyd_node_last_seen_timestamp_seconds", node="moved")
    assert seen == pytest.approx(time.time() - 3, abs=2)
    assert sample(metrics, "policyd_node_applied_revision", node="gone") is None
    assert sample(metrics, "policyd_node_applied_revision", node="mute") is None


def test_what_is_kept_of_readings_is_bounded() -> None:
    metrics, _ = make_metrics(revision=lambda: 30_000)
    for number in range(30_000):
        metrics(
            events.ChangesRead(position=Position(number, "00000000"), revisions=1, tags=1, floors=0, lag=0.0)
        )
    assert len(metrics._nodes._readings) <= 10_000
