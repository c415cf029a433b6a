"""Dashboards and alerts: Prometheus's own judgement of them, and that what they name exists."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from policyd.observe import events
from policyd.observe.metrics import Metrics, State
from policyd.policy.position import Position

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
GROUPS = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
PROMETHEUS_OWN = {"up", "ALERTS"}
FUNCTIONS = {
    *("absent", "changes", "count", "histogram_quantile", "increase", "max", "min", "rate", "sum", "time"),
    *("topk", "by", "on", "group_right", "offset", "and", "or", "le"),
}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)


class Counts:
    """Of one kind of lookups, as the service keeps them."""

    outcomes = {"hit": 3, "miss": 2, "none": 1, "stale": 1, "error": 1}  # noqa: RUF012
    buckets = [1, 2, 3]  # noqa: RUF012
    seconds = 0.5


def exported() -> set[str]:
    """Every name that Prometheus finds at /metrics of a service to which everything has happened."""
    state = State(revision=105, current=True, cache_bytes=1, cache_entries=1)
    metrics = Metrics(
        version="1", tallies={"queue": Counts()}, bounds=(0.1, 1.0), state=lambda: state, clock=lambda: 0.0
    )
    for observation in everything():
        metrics(observation)
    families = text_string_to_metric_families(metrics.render().decode())
    return {sample.name for family in families for sample in family.samples}


def everything() -> Iterator[events.Observation]:
    here = Position(105, "3f9a12bc")
    yield events.BackendAnswered(backend="postgresql", operation="documents", seconds=0.1)
    yield events.ChangesRead(position=here, revisions=1, tags=1, floors=0, lag=0.1)
    yield events.VaultTokenGranted(expires_at=1.0)
    yield events.BackendLost(backend="postgresql", trouble="unreachable", reason="gone", retry_in=1.0)
    yield events.DrillKeptTo(kind="queue")
    yield events.NodeReported(node="mx-1", applied=here)
    yield events.KeySent(
        token="mx-1", limited=False, domain="a", selector="s", key_id="k", found="memory", peer="::1"
    )
    for outcome in get_args(events.AuthOutcome):
        yield events.AuthAttempted(outcome=outcome)


def expressions(value: Any) -> Iterator[str]:
    """Every query of a dashboard, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def named(expression: str) -> set[str]:
    """The metrics that an expression names: words that are no labels, values, functions or durations."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|(?:by|on) *\([^)]*\)', " ", expression)
    return {word for word in re.findall(r"[a-zA-Z_]\w*", bare) if word not in FUNCTIONS | {"m"}}


def queries_of(dashboard: Path) -> list[str]:
    found = json.loads(dashboard.read_text())
    variables = [each["query"] for each in found["templating"]["list"] if each["type"] == "query"]
    return [*expressions(found), *(re.sub(r"label_values\((.*), \w+\)", r"\1", each) for each in variables)]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_shows_only_what_the_service_exports(dashboard):
    queries = queries_of(dashboard)
    assert len(queries) > 3
    for query in queries:
        assert named(query) <= exported(), query


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_looks_only_at_what_the_service_exports(alert):
    assert named(alert["expr"])
    assert named(alert["expr"]) - PROMETHEUS_OWN <= exported()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_what_is_the_case_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["description"]
    assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"
    assert f"\n## {alert['alert']}\n" in RUNBOOK


def test_the_runbook_has_no_section_for_an_alert_that_is_gone():
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == [alert["alert"] for alert in ALERTS]


def test_an_alert_that_does_not_wait_counts_over_a_while():
    for alert in ALERTS:
        assert "for" in alert or "increase(" in alert["expr"], alert["alert"]


def test_the_dashboards_are_what_their_pages_say(tmp_path):
    code = "import sys, pathlib; import generate, drawing; drawing.write(generate.PAGES, pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=GRAFANA, check=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in DASHBOARDS]
    for path in DASHBOARDS:
        assert (tmp_path / path.name).read_text() == path.read_text(), f"make dashboards: {path.name}"


@needs_promtool
def test_prometheus_takes_every_query_of_the_dashboards(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(each for path in DASHBOARDS for each in queries_of(path))
    ]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "queries.yaml"))


@needs_promtool
def test_prometheus_takes_the_alerts_and_the_scrape_configuration():
    promtool("check", "config", "prometheus.yaml")


@needs_promtool
def test_every_alert_fires_when_it_should_and_none_on_a_quiet_day():
    promtool("test", "rules", "alerts.test.yaml")


def test_every_alert_is_seen_to_fire():
    tests = yaml.safe_load((GRAFANA / "alerts.test.yaml").read_text())["tests"]
    assert [test["name"] for test in tests[1:]] == [alert["alert"] for alert in ALERTS]
    for test in tests[1:]:
        assert test["name"] in test["promql_expr_test"][0]["expr"]
        assert test["promql_expr_test"][0]["exp_samples"][0]["value"] == 1


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=GRAFANA, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
