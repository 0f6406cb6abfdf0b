"""What every dashboard has: variables, links to the others, marks where policies changed."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    ConstantVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from charts.monitoring.code.panel import METRICS
from charts.monitoring.code.query import of

RUNBOOKS = "https://example.com/authz/docs/runbooks"  # where an installation keeps them is its own business
TAG = "authz"

Rows = Sequence[tuple[str, Sequence[Builder[Panel]]]]

_ALL = VariableOption(selected=True, text="All", value="$__all")
_CHANGED = (
    f"max by (revision) ({of('authz_snapshot_revision_info')})"
    f" unless max by (revision) ({of('authz_snapshot_revision_info')} offset 1m)"
)


def framed(uid: str, title: str, about: str, rows: Rows, *, logs: bool = False) -> Dashboard:
    """Return a dashboard.

    Args:
        rows: their titles, and the panels of each.
        logs: whether some ask Loki.
    """
    dashboard = (
        Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("authz")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(_mark("policy set changed", _CHANGED, "blue"))
        .annotation(_mark("brake pulled", f"max({of('authz_snapshot_overrides')}) > 0", "red"))
        .variables(_variables(logs=logs))
    )
    for name, panels in rows:
        row = Row(name)
        dashboard.with_row(row)
        for panel in panels:
            dashboard.with_panel(panel)
    return dashboard


def _mark(name: str, expr: str, colour: str) -> AnnotationQuery:
    return AnnotationQuery().name(name).datasource(METRICS).enable(True).icon_color(colour).expr(expr)


def _variables(*, logs: bool) -> list[Builder[VariableModel]]:
    sources: list[Builder[VariableModel]] = [
        DatasourceVariable("datasource").label("Metrics").type("prometheus")
    ]
    if logs:
        sources.append(DatasourceVariable("logs").label("Records").type("loki"))
    return [
        *sources,
        _chosen("namespace", "Namespace", "label_values(authz_build_info, namespace)"),
        _chosen("job", "Job", 'label_values(authz_build_info{namespace=~"$namespace"}, job)'),
        _chosen(
            "sidecar",
            "Sidecar",
            'label_values(authz_build_info{namespace=~"$namespace",job=~"$job"}, instance)',
        ),
        ConstantVariable("runbooks").label("Runbooks").value(RUNBOOKS),
    ]


def _chosen(name: str, label: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(METRICS)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_ALL)
    )
