"""Rules and alerts: valid, each with a page that helps, each fires, clears and leaves quiet ones alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.admission.catalogue import METRICS as INJECTION
from authz.record.catalogue import METRICS as SIDECAR
from tests.support.prometheus import MONITORING, ROOT, promtool, scaled

METRICS = {**SIDECAR, **INJECTION}
RUNBOOKS = ROOT / "docs" / "runbooks"
TRIALS = sorted((MONITORING / "tests").glob("*.yaml"))
HEADINGS = (
    "What it means",
    "Who is hurt",
    "How to look",
    "What to do",
    "How to silence it",
    "False alarms",
)
NOT_OURS = {"up", "process_start_time_seconds", "envoy_http_ext_authz_error"}


def _rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / name).read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in _rules("alerts.yaml")}
RECORDED = {rule["record"] for rule in _rules("rules.yaml")}
CASES = {case["name"]: case for trial in TRIALS for case in yaml.safe_load(trial.read_text())["tests"]}


def test_prometheus_takes_the_rules() -> None:
    code, said = promtool("check", "rules", str(MONITORING / "rules.yaml"), str(MONITORING / "alerts.yaml"))
    assert code == 0, said
    assert f"{len(ALERTS)} rules found" in said


def test_prometheus_takes_the_example_of_a_configuration() -> None:
    code, said = promtool("check", "config", str(MONITORING / "prometheus.yml"))
    assert code == 0, said


def test_prometheus_takes_the_example_for_a_cluster_but_for_the_pods(tmp_path: Path) -> None:
    # Debian's Prometheus is built without Kubernetes: what finds pods is taken out, and read by nobody here.
    document = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text())
    for pods in document["scrape_configs"]:
        assert pods.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    document["rule_files"] = [str(MONITORING / name) for name in document["rule_files"]]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(document))
    code, said = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert code == 0, said


def test_every_alert_fires_clears_and_leaves_others_alone_as_its_trial_says() -> None:
    code, said = promtool("test", "rules", *map(str, TRIALS))
    assert code == 0, said
    assert said.count("SUCCESS") == len(TRIALS)


def test_a_trial_that_does_not_come_true_would_be_noticed(tmp_path: Path) -> None:
    document = yaml.safe_load((MONITORING / "tests" / "stores.yaml").read_text())
    document["rule_files"] = [str(MONITORING / name) for name in ("rules.yaml", "alerts.yaml")]
    for check in document["tests"][0]["promql_expr_test"]:
        check["exp_samples"] = []
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(document))
    code, said = promtool("test", "rules", str(tmp_path / "wrong.yaml"))
    assert code != 0
    assert "AuthzStoreDown" in said


@pytest.mark.parametrize("name", ALERTS)
def test_a_trial_sees_its_alert_silent_firing_and_silent_again(name: str) -> None:
    case = CASES[name]
    checks = [check for check in case["promql_expr_test"] if f'"{name}"' in check["expr"]]
    fired = [bool(check["exp_samples"]) for check in checks]
    assert fired == [False, True, False]
    shown = " ".join(sample["labels"] for check in checks for sample in check["exp_samples"])
    tempted = " ".join(series["series"] for series in case["input_series"])
    # Nobody is there when all are absent, so nobody is left alone.
    assert '="quiet"' in tempted or name == "AuthzAbsent"
    assert '="quiet"' not in shown


def test_no_trial_is_of_an_alert_that_is_gone() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_needed_at_night(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_page_with_every_heading(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == HEADINGS
    parts = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert all(len(part.split()) >= 8 for part in parts), "a heading without advice"
    severity = ALERTS[name]["labels"]["severity"]
    assert f"**{severity}**" in text.splitlines()[2]


def test_no_page_is_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Authz*.md")} == set(ALERTS)


def _named(expr: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expr)
    return set(
        re.findall(r"\b(?:authz_\w+|namespace_\w+:[\w:]+|up|process_\w+|envoy_\w+)\b(?!\s*[=(])", bare)
    )


@pytest.mark.parametrize("rule", [*_rules("rules.yaml"), *_rules("alerts.yaml")], ids=lambda rule: str(rule))
def test_a_rule_asks_only_what_is_there(rule: dict[str, Any]) -> None:
    known = {*METRICS, *RECORDED, *NOT_OURS}
    known |= {f"{name}{end}" for name in METRICS for end in ("_bucket", "_count", "_sum")}
    assert _named(rule["expr"]) - known == set()


@pytest.mark.parametrize("rule", _rules("alerts.yaml"), ids=lambda rule: str(rule["alert"]))
def test_labels_that_a_rule_chooses_by_are_labels_of_the_metric(rule: dict[str, Any]) -> None:
    for metric, matchers in re.findall(r"\b(authz_\w+)\{([^}]*)\}", rule["expr"]):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) - {"le"}
        shape = METRICS[re.sub(r"_(bucket|count|sum)$", "", metric) if metric not in METRICS else metric]
        assert labels <= set(shape.labels), metric


def test_hours_become_seconds() -> None:
    rules = "groups: [{name: a, rules: [{alert: A, expr: 'rate(x_seconds[1h] offset 15m) > 3', for: 2m}]}]"
    (rule,) = yaml.safe_load(scaled(rules, 60, 30.0, 100))["groups"][0]["rules"]
    assert rule == {"alert": "A", "expr": "rate(x_seconds[30000ms] offset 15000ms) > 3", "for": "2000ms"}
