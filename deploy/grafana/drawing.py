"""
From pages, which are described in pages/, to the JSON that Grafana loads.

    make dashboards            writes deploy/grafana/dashboards/*.json anew

Grafana's own SDK knows the format; here is only how a page of ours looks: one data source to choose, panels in rows of
24 columns, a sentence in each panel on how to read it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """PromQL, and what its series are called: `{{label}}` is a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One thing to see. *bad* is from where on a value is red; *unit* is Grafana's name of it."""

    title: str
    reading: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Literal["lines", "stacked", "number", "table"] = "lines"
    width: int = 12
    least: float | None = 0
    most: float | None = None
    bad: float | None = None
    is_bad_below: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A dashboard. *labels* are those that can be chosen from, each with the metric that has it."""

    uid: str
    title: str
    purpose: str
    labels: Sequence[tuple[str, str]]
    rows: Sequence[Row]


def drawn(page: Page) -> str:
    """The dashboard as the JSON that Grafana takes from a file or by hand."""
    built = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.purpose)
        .tags(["policyd", "kumomta"])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("policyd")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["policyd"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("job", "policyd_build_info", "job"))
        .with_variable(_choice("instance", 'policyd_build_info{job=~"$job"}', "instance"))
    )
    for label, metric in page.labels:
        built.with_variable(_choice(label, f'{metric}{{job=~"$job"}}', label))
    for row in page.rows:
        built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built.with_panel(_panel(panel))
    text = json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True)
    return text + "\n"


def write(pages: Sequence[Page], directory: Path) -> None:
    """One file for each page, and no other."""
    for stray in directory.glob("*.json"):
        stray.unlink()
    for page in pages:
        (directory / f"{page.uid}.json").write_text(drawn(page), encoding="utf-8")


def _choice(name: str, metric: str, label: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel:
    match panel.kind:
        case "number":
            built = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        case "table":
            built = table.Panel()
        case _:
            built = _lines(panel)
    built.title(panel.title).description(panel.reading).datasource(_SOURCE).unit(panel.unit)
    built.span(panel.width).height(4 if panel.kind == "number" else _HEIGHT)
    if panel.bad is not None:
        built.thresholds(_thresholds(panel.bad, is_bad_below=panel.is_bad_below))
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + number)).datasource(_SOURCE)
        if query.legend:
            target.legend_format(query.legend)
        if panel.kind == "table":
            target.format(PromQueryFormat.TABLE).instant()
        built.with_target(target)
    return built


def _lines(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .line_width(1)
        .fill_opacity(30 if panel.kind == "stacked" else 8)
    )
    if panel.kind == "stacked":
        built.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if panel.least is not None:
        built.min(panel.least)
    if panel.most is not None:
        built.max(panel.most)
    return built


def _thresholds(bad: float, *, is_bad_below: bool) -> dashboard.ThresholdsConfig:
    colours = ("red", "green") if is_bad_below else ("green", "red")
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(color=colours[0], value=None), Threshold(color=colours[1], value=bad)])
    )
