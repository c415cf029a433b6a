"""
Observations and counts as Prometheus metrics, in a registry of their own.

Label sets are closed: kinds, outcomes, backends, operations, and node ids, of which there are at most a thousand.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from policyd.errors import Bottleneck
from policyd.observe.events import (
    AuthAttempted,
    AuthOutcome,
    BackendAnswered,
    BackendFailed,
    BackendLost,
    BackendReached,
    ChangesRead,
    DrillBegan,
    DrillEnded,
    DrillKeptTo,
    HistoryPruned,
    HistoryReplaced,
    KeyChanged,
    KeySent,
    KeyUnusable,
    NodeReported,
    NodesRead,
    Observation,
    RequestFailed,
    RequestShed,
    TokenRefused,
    VaultTokenGranted,
)
from policyd.observe.node_lag import NodeLag
from policyd.observe.own_process import OwnProcess
from policyd.policy.position import Position

_BACKEND_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Tallied(Protocol):
    """Counts of one kind of lookup, as plain numbers."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Answers by outcome."""

    @property
    def buckets(self) -> list[int]:
        """Answers by duration."""

    @property
    def seconds(self) -> float:
        """Their durations' sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the service is at the moment of a scrape."""

    revision: int
    current: bool
    cache_bytes: int
    cache_entries: int
    pending: int = 0
    connections: int = 0
    most_connections: int = 0


class Metrics:
    """The sink that counts, and what /metrics shows."""

    def __init__(
        self,
        *,
        version: str,
        tallies: Mapping[str, Tallied],
        bounds: tuple[float, ...],
        state: Callable[[], State],
        clock: Callable[[], float],
    ) -> None:
        self._registry = CollectorRegistry()
        self._nodes = NodeLag(clock)
        self._registry.register(_Live(tallies, bounds, state, self._nodes))
        OwnProcess(registry=self._registry)
        Gauge("policyd_build_info", "What runs here", ["version"], registry=self._registry).labels(
            version
        ).set(1)
        self._backend_up = self._gauge("policyd_backend_up", "Whether a backend answers", "backend")
        self._backend_up.labels("postgresql").set(0)
        self._backend_seconds = Histogram(
            "policyd_backend_request_duration_seconds",
            "How long a backend took for one request",
            ["backend", "operation"],
            buckets=_BACKEND_BOUNDS,
            registry=self._registry,
        )
        self._troubles = Counter(
            "policyd_backend_troubles_total",
            "Times that a backend did not give what was needed, by what was the matter",
            ["backend", "trouble"],
            registry=self._registry,
        )
        self._changes = self._counter("policyd_changes_total", "Revisions that the change feed took in")
        self._lag = Gauge(
            "policyd_change_lag_seconds",
            "From the newest revision's commit to its being known here",
            registry=self._registry,
        )
        self._resets = self._counter(
            "policyd_history_resets_total", "Times that the database had another history"
        )
        self._pruned = self._counter(
            "policyd_history_pruned_rows_total", "Rows of the change log that this replica pruned"
        )
        self._shed = Counter(
            "policyd_requests_shed_total",
            "Requests that were told to come again, by what there was no more room in",
            ["bottleneck"],
            registry=self._registry,
        )
        for bottleneck in get_args(Bottleneck):
            self._shed.labels(bottleneck)
        self._refused = self._counter("policyd_tokens_refused_total", "Requests refused for their token")
        self._failed = self._counter(
            "policyd_requests_failed_total", "Requests that ended in an error of policyd's own"
        )
        self._logins = Counter(
            "policyd_auth_attempts_total", "Attempts to log in", ["outcome"], registry=self._registry
        )
        for outcome in get_args(AuthOutcome):
            self._logins.labels(outcome)
        self._keys_sent = Counter(
            "policyd_private_keys_sent_total",
            "Private keys handed out, by what the token is good for and where the key was found",
            ["token", "found"],
            registry=self._registry,
        )
        self._keys_changed = self._counter(
            "policyd_private_keys_changed_total", "Private keys that were replaced where they are kept"
        )
        self._keys_unusable = self._counter(
            "policyd_private_keys_unusable_total",
            "Times that a private key was not there or could not be used",
        )
        self._drills = Gauge(
            "policyd_drills", "Drills that are on: lookups fail on purpose", registry=self._registry
        )
        self._drilled = Counter(
            "policyd_drilled_requests_total",
            "Requests that a drill made fail",
            ["kind"],
            registry=self._registry,
        )
        self._token_expiry: Gauge | None = None

    def __call__(self, observation: Observation) -> None:
        """Count *observation*, if it is one that is counted."""
        match observation:
            case BackendAnswered():
                self._backend_seconds.labels(observation.backend, observation.operation).observe(
                    observation.seconds
                )
            case BackendReached():
                self._backend_up.labels(observation.backend).set(1)
            case BackendLost():
                self._backend_up.labels(observation.backend).set(0)
                self._troubles.labels(observation.backend, observation.trouble).inc()
            case BackendFailed():
                self._troubles.labels(observation.backend, observation.trouble).inc()
            case VaultTokenGranted():
                self._set_token_expiry(math.inf if observation.expires_at is None else observation.expires_at)
            case ChangesRead():
                self._changes.inc(observation.revisions)
                self._lag.set(observation.lag)
                self._nodes.read(observation.position.number)
            case HistoryReplaced():
                self._resets.inc()
                self._nodes.forget()
            case HistoryPruned(rows=rows):
                self._pruned.inc(rows)
            case AuthAttempted():
                self._logins.labels(observation.outcome).inc()
            case KeySent(token=token, limited=limited, found=found):
                good_for = "none needed" if token is None else "some domains" if limited else "any domain"
                self._keys_sent.labels(good_for, found).inc()
            case KeyChanged():
                self._keys_changed.inc()
            case KeyUnusable():
                self._keys_unusable.inc()
            case TokenRefused():
                self._refused.inc()
            case DrillBegan():
                self._drills.inc()
            case DrillEnded():
                self._drills.dec()
            case DrillKeptTo(kind=kind):
                self._drilled.labels(kind).inc()
            case RequestShed(bottleneck=bottleneck):
                self._shed.labels(bottleneck).inc()
            case RequestFailed():
                self._failed.inc()
            case NodeReported(node=node, applied=Position(number=number), counts=counts):
                self._nodes.report(node, number, counts)
            case NodesRead():
                self._nodes.replace(observation.nodes)
            case _:
                pass

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def _set_token_expiry(self, seconds: float) -> None:
        if (
            self._token_expiry is None
        ):  # where there is no Vault, a zero would look like a token that has ended
            self._token_expiry = Gauge(
                "policyd_vault_token_expiry_timestamp_seconds",
                "When the token at Vault ends, unless it is renewed",
                registry=self._registry,
            )
        self._token_expiry.set(seconds)

    def _gauge(self, name: str, documentation: str, label: str) -> Gauge:
        return Gauge(name, documentation, [label], registry=self._registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(name, documentation, registry=self._registry)


class _Live(Collector):
    """Plain integers of the hot path, made into metrics only when somebody scrapes."""

    def __init__(
        self,
        tallies: Mapping[str, Tallied],
        bounds: tuple[float, ...],
        state: Callable[[], State],
        nodes: NodeLag,
    ) -> None:
        self._tallies = tallies
        self._bounds = (*(str(bound) for bound in bounds), "+Inf")
        self._state = state
        self._nodes = nodes

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are known from the first scrape on."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every metric that is read from the service itself."""
        state = self._state()
        yield GaugeMetricFamily("policyd_revision", "The newest revision known here", value=state.revision)
        yield GaugeMetricFamily(
            "policyd_current", "1 while answers can be vouched for", value=float(state.current)
        )
        yield GaugeMetricFamily("policyd_cache_bytes", "Bytes of cached answers", value=state.cache_bytes)
        yield GaugeMetricFamily("policyd_cache_entries", "Cached answers", value=state.cache_entries)
        yield GaugeMetricFamily(
            "policyd_lookups_pending", "Lookups that are being read for", value=state.pending
        )
        yield GaugeMetricFamily(
            "policyd_connections", "Connections of the lookup listener", value=state.connections
        )
        yield GaugeMetricFamily(
            "policyd_connections_limit", "Connections that may be open", value=state.most_connections
        )
        lookups = CounterMetricFamily("policyd_lookups", "Lookups answered", labels=["kind", "outcome"])
        durations = HistogramMetricFamily(
            "policyd_lookup_duration_seconds", "How long a lookup took to answer", labels=["kind"]
        )
        for kind, tally in self._tallies.items():
            for outcome, count in tally.outcomes.items():
                lookups.add_metric([kind, outcome], count)
            durations.add_metric([kind], self._cumulative(tally.buckets), tally.seconds)
        yield lookups
        yield durations
        yield from self._node_metrics(state.revision)

    def _node_metrics(self, head: int) -> Iterator[Metric]:
        applied = GaugeMetricFamily(
            "policyd_node_applied_revision", "The revision that a node has applied", labels=["node"]
        )
        lag = GaugeMetricFamily(
            "policyd_node_lag_seconds",
            "How long the log has held what a node has not applied",
            labels=["node"],
        )
        seen = GaugeMetricFamily(
            "policyd_node_last_seen_timestamp_seconds", "When a node reported last", labels=["node"]
        )
        answers = CounterMetricFamily(
            "policyd_node_answers", "What a node's own lookups were answered with", labels=["node", "outcome"]
        )
        for each in self._nodes.samples(head):
            applied.add_metric([each.node], each.applied)
            lag.add_metric([each.node], each.lag)
            seen.add_metric([each.node], time.time() - each.silent_for)
            for outcome, count in each.counts.items():
                answers.add_metric([each.node, outcome], count)
        yield from (applied, lag, seen, answers)

    def _cumulative(self, buckets: list[int]) -> list[tuple[str, float]]:
        total = 0.0
        cumulative = []
        for bound, count in zip(self._bounds, buckets, strict=True):
            total += count
            cumulative.append((bound, total))
        return cumulative
