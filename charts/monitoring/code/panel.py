"""Panels in one style: each says what it shows, in which unit, and from where on it is bad."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, logs, loki, prometheus, stat, text, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardLink as Link
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.text import TextMode

from charts.monitoring.code.query import Query

METRICS = DataSourceRef(type_val="prometheus", uid="${datasource}")
LOGS = DataSourceRef(type_val="loki", uid="${logs}")
SECONDS, BYTES, SHARE, PER_S, COUNT = "s", "bytes", "percentunit", "reqps", "short"
WHEN, AGO = "dateTimeAsIso", "s"

HEIGHT = 8
_GREEN, _ORANGE, _RED = "green", "orange", "red"


def series(
    title: str,
    about: str,
    *queries: Query,
    unit: str = COUNT,
    width: int = 8,
    stacked: bool = False,
    steps: Sequence[float] = (),
    runbook: str = "",
) -> Builder[Panel]:
    """Return lines over time.

    Args:
        about: what it shows, and what to think of it.
        width: of 24.
        steps: from where on it is worth a look, and from where on bad; the last alone: bad.
        runbook: the alert that watches it.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(METRICS)
        .unit(unit)
        .min(0)
        .height(HEIGHT)
        .span(width)
        .fill_opacity(20 if stacked else 5)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .no_value("0")
        .thresholds(_thresholds(steps))
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                GraphTresholdsStyleMode.DASHED if steps else GraphTresholdsStyleMode.OFF
            )
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .links(_links(runbook))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, letter))
    return panel


def number(
    title: str,
    about: str,
    query: Query,
    *,
    unit: str = COUNT,
    width: int = 4,
    steps: Sequence[float] = (),
    low_is_bad: bool = False,
    decimals: int | None = None,
    runbook: str = "",
) -> Builder[Panel]:
    """Return one number as it is now; arguments as of `series`.

    Args:
        low_is_bad: below the first step is bad, below the second worth a look.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(METRICS)
        .unit(unit)
        .height(HEIGHT // 2)
        .span(width)
        .no_value("0")
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps, low_is_bad=low_is_bad))
        .links(_links(runbook))
        .with_target(_target(query, "A"))
    )
    return panel if decimals is None else panel.decimals(decimals)


def log(title: str, about: str, expr: str, *, width: int = 24) -> Builder[Panel]:
    """Return lines of records, out of Loki."""
    return (
        logs.Panel()
        .title(f"{title} (from records, Loki)")
        .description(about)
        .datasource(LOGS)
        .height(HEIGHT)
        .span(width)
        .show_time(True)
        .enable_log_details(True)
        .with_target(loki.Dataquery().expr(expr).ref_id("A").datasource(LOGS))
    )


def counted(title: str, about: str, expr: str, legend: str, *, width: int = 12) -> Builder[Panel]:
    """Return lines over time, counted in records, out of Loki."""
    return (
        timeseries.Panel()
        .title(f"{title} (from records, Loki)")
        .description(about)
        .datasource(LOGS)
        .unit(COUNT)
        .min(0)
        .height(HEIGHT)
        .span(width)
        .with_target(loki.Dataquery().expr(expr).legend_format(legend).ref_id("A").datasource(LOGS))
    )


def prose(title: str, about: str, content: str, *, width: int = 24, height: int = 3) -> Builder[Panel]:
    """Return a text."""
    return (
        text.Panel()
        .title(title)
        .description(about)
        .mode(TextMode.MARKDOWN)
        .content(content)
        .height(height)
        .span(width)
    )


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .exemplar(query.exemplars)
        .range()
        .ref_id(letter)
        .datasource(METRICS)
    )


def _thresholds(steps: Sequence[float], *, low_is_bad: bool = False) -> ThresholdsConfig:
    """Return green, orange and red in their order; the first has no bound."""
    colours = [_GREEN, *((_ORANGE, _RED) if len(steps) > 1 else (_RED,))]
    if low_is_bad:
        colours = colours[: len(steps) + 1][::-1]
    bounds = [None, *steps]
    found = [Threshold(value=at, color=colour) for at, colour in zip(bounds, colours, strict=False)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _links(runbook: str) -> list[Builder[Link]]:
    if not runbook:
        return []
    link = DashboardLink(f"What to do: {runbook}").type(DashboardLinkType.LINK).target_blank(True)
    return [link.url(f"${{runbooks}}/{runbook}.md")]
