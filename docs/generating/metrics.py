"""What /metrics shows, from the registry that renders it."""

import re
from typing import get_args

from generating.markdown import code, made, table

from policyd.observe.events import AuthAttempted, AuthOutcome, VaultTokenGranted
from policyd.observe.metrics import Metrics, State


class _Nothing:
    outcomes = {"hit": 0, "miss": 0, "none": 0, "stale": 0, "error": 0}  # noqa: RUF012
    buckets = [0]  # noqa: RUF012
    seconds = 0.0


def metrics_page() -> str:
    """Every family with its type, labels and meaning."""
    state = State(revision=0, current=True, cache_bytes=0, cache_entries=0)
    metrics = Metrics(
        version="", tallies={"queue": _Nothing()}, bounds=(), state=lambda: state, clock=lambda: 0.0
    )
    for outcome in get_args(AuthOutcome):
        metrics(AuthAttempted(outcome=outcome))
    metrics(VaultTokenGranted(expires_at=0.0))
    return made(
        "Metrics",
        "At `/metrics` of the admin listener, for Prometheus, without a token. Label sets are closed: never a domain, a tenant or a path.",
        table(["metric", "type", "meaning"], _families(metrics.render().decode())),
    )


def _families(text: str) -> list[tuple[str, str, str]]:
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    return [
        (code(name), kind, helps.get(name, ""))
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
        if not name.endswith("_created")
    ]
