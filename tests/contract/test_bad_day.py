"""A day on which everything happened, to real sidecars before a real Prometheus.

Every alert fires and clears, and every query of every panel finds something.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.monitoring.code.files import DASHBOARDS
from tests.support.incident import Day, bad_day
from tests.support.prometheus import MONITORING, program, promtool

ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    """A bad day that is over: everything went wrong, every alert fired; all was put right, all cleared."""
    program("prometheus")
    with tempfile.TemporaryDirectory(prefix="authz-") as home, bad_day(Path(home)) as made:
        made.open()
        made.wait_until_cleared(set(ALERTS))
        made.strike()
        made.wait_until_fired(set(ALERTS))
        made.mend()
        made.wait_until_cleared(set(ALERTS))
        yield made


def _dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboards" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_when_it_happens_and_clears_when_it_is_over(day: Day, name: str) -> None:
    assert name in day.fired()
    assert name in day.cleared


def test_what_alerts_say_names_who_and_how_much(day: Day) -> None:
    assert len(day.texts) > 20
    said = [alert["annotations"] for several in day.texts.values() for alert in several]
    texts = [text for annotations in said for text in annotations.values()]
    assert [text for text in texts if "error expanding" in text or "<no value>" in text or "  " in text] == []
    (down,) = day.texts["AuthzSidecarDown"]
    assert down["annotations"]["summary"] == "The sidecar leaver does not answer scrapes"
    (store,) = day.texts["AuthzStoreDown"]
    assert store["annotations"]["summary"] == "The store `redis` does not answer a"
    (memory,) = day.texts["AuthzMemoryNearLimit"]
    assert memory["annotations"]["summary"] == "understudy uses 95% of its memory"


def _real(expr: str) -> str:
    """Fill in what Grafana fills in."""
    filled = re.sub(r"\$(?:namespace|job|sidecar)\b", ".*", expr)
    return filled.replace("$__rate_interval", "2s").replace("$__range", "1m").replace("$__interval", "2s")


def _finds(day: Day, expr: str) -> bool:
    series = day.prometheus.span(_real(expr), day.began_s, time.time(), 0.5)
    return any(math.isfinite(float(value)) for one in series for _, value in one["values"])


def _queries() -> Iterator[tuple[str, str]]:
    for name in DASHBOARDS:
        for panel in _dashboard(name)["panels"]:
            for target in panel.get("targets", ()):
                if target.get("datasource", {}).get("type") == "prometheus":
                    yield f"{name}: {panel['title']}", target["expr"]
    for mark in _dashboard("overview")["annotations"]["list"]:
        yield f"annotation: {mark['name']}", mark["expr"].replace("offset 1m", "offset 2s")


QUERIES = list(_queries())


def test_every_query_of_every_panel_finds_something(day: Day) -> None:
    assert len(QUERIES) > 90
    empty = [where for where, expr in QUERIES if not _finds(day, expr)]
    assert empty == []


def test_a_query_that_finds_nothing_would_be_noticed(day: Day) -> None:
    assert not _finds(day, 'authz_checks_total{reason="no_such_reason"}')


@pytest.mark.parametrize("variable", ["namespace", "job", "sidecar"])
def test_variables_find_what_can_be_chosen(day: Day, variable: str) -> None:
    (made,) = [one for one in _dashboard("overview")["templating"]["list"] if one["name"] == variable]
    asked = re.fullmatch(r"label_values\((.*), (\w+)\)", made["query"])
    assert asked is not None
    found = {series["metric"].get(asked[2], "") for series in day.prometheus.query(_real(asked[1]))}
    expected = {"namespace": {""}, "job": {"items"}, "sidecar": {"a", "b", "understudy", "leaver"}}
    assert found == expected[variable]


@pytest.mark.parametrize("name", ["a", "b"])
def test_promtool_has_nothing_against_our_names(day: Day, name: str) -> None:
    code, said = promtool("check", "metrics", text=day.page(name))
    assert (code, said) == (0, "")
