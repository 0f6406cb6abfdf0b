"""Dashboards: each panel explained, and made by the code. What their queries find: `test_bad_day.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from authz.cli.docs import pages
from authz.record.catalogue import METRICS
from charts.monitoring.code.__main__ import main
from charts.monitoring.code.files import DASHBOARDS, files
from tests.support.prometheus import MONITORING, ROOT

Json = dict[str, Any]
_UNITS = {"s", "bytes", "percentunit", "reqps", "short", "none"}
_METRIC = re.compile(r"\b((?:authz|process|envoy)_[a-z_]+)\{")


def _dashboard(name: str) -> Json:
    found: Json = json.loads((MONITORING / "dashboards" / f"{name}.json").read_text())
    return found


def _panels(name: str) -> list[Json]:
    return [panel for panel in _dashboard(name)["panels"] if panel["type"] != "row"]


def _asked(panel: Json) -> list[str]:
    """Return what a panel asks Prometheus."""
    return [
        target["expr"]
        for target in panel.get("targets", ())
        if target.get("datasource", {}).get("type") == "prometheus"
    ]


ALL = [(name, panel) for name in DASHBOARDS for panel in _panels(name)]
NAMED = pytest.mark.parametrize(
    ("name", "panel"), ALL, ids=lambda value: value if isinstance(value, str) else value["title"]
)


def test_what_is_committed_is_what_the_code_writes(tmp_path: Path) -> None:
    main(tmp_path)
    for name, content in files().items():
        assert (ROOT / name).read_text() == content, f"{name}: run `make schema`"
        assert (tmp_path / name).read_text() == content
    there = {path.relative_to(ROOT).as_posix() for path in (MONITORING / "dashboards").iterdir()}
    assert there == set(files())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_aimed_and_left(name: str) -> None:
    made = _dashboard(name)
    variables = [variable["name"] for variable in made["templating"]["list"]]
    assert {"datasource", "namespace", "job", "sidecar", "runbooks"} <= set(variables)
    assert made["uid"] == f"authz-{name}"
    assert made["description"]
    assert [link["tags"] for link in made["links"]] == [["authz"]]
    assert {mark["name"] for mark in made["annotations"]["list"]} == {"policy set changed", "brake pulled"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_stand_beside_each_other_and_not_upon(name: str) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in _dashboard(name)["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own


@NAMED
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str, panel: Json) -> None:
    assert len(panel["description"].split()) >= 4, "a description helps somebody"
    if panel["type"] in ("stat", "timeseries"):
        assert panel["fieldConfig"]["defaults"]["unit"] in _UNITS
    for link in panel.get("links", ()):
        page = link["url"].removeprefix("${runbooks}/")
        assert (ROOT / "docs" / "runbooks" / page).is_file(), page


@NAMED
def test_a_panel_asks_for_the_sidecars_that_were_chosen_and_nothing_that_does_not_exist(
    name: str, panel: Json
) -> None:
    for expr in _asked(panel):
        found = _METRIC.findall(expr)
        assert found, expr
        known = {*METRICS, *(f"{metric}_{end}" for metric in METRICS for end in ("bucket", "count", "sum"))}
        assert {metric for metric in found if metric.startswith("authz_")} <= known
        assert expr.count('instance=~"$sidecar"') == len(found)


@NAMED
def test_what_comes_out_of_records_says_so(name: str, panel: Json) -> None:
    kinds = {target.get("datasource", {}).get("type") for target in panel.get("targets", ())}
    assert kinds <= {"prometheus", "loki"}
    assert ("(from records, Loki)" in panel["title"]) == ("loki" in kinds)


def test_every_metric_is_on_some_dashboard_or_in_some_rule() -> None:
    shown = " ".join(expr for _, panel in ALL for expr in _asked(panel))
    shown += (MONITORING / "rules.yaml").read_text() + (MONITORING / "alerts.yaml").read_text()
    shown += " ".join(mark["expr"] for name in DASHBOARDS for mark in _dashboard(name)["annotations"]["list"])
    # Facts for whoever asks them, which nobody need look at all the time.
    elsewhere = {"authz_policy_mounts_frozen", "authz_reload_running_seconds", "authz_snapshot_needs_newer"}
    elsewhere |= {"authz_state_writes_total"}
    assert {metric for metric in METRICS if metric not in shown} == elsewhere


def test_every_metric_stands_on_the_generated_page() -> None:
    page = pages()["docs/metrics.md"]
    assert all(f"`{metric}`" in page for metric in METRICS)
