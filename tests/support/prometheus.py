"""A real Prometheus for tests, asked as Grafana asks it; and rules whose hours are seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.proxy.process import Child, Plan, free_port

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "charts" / "monitoring"

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?<=[\[ ])(\d+)([smhd])\b")
_SECONDS = re.compile(r"(_seconds > )(\d{2,})")  # a bound in whole seconds
_TRIES = 5  # of ports: another test may take one between our look and the server's


def program(name: str) -> str:
    """Return where `prometheus` or `promtool` is; without it the test is skipped, but never in CI."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"`{name}` is not here: install Debian's prometheus")
    pytest.skip(f"`{name}` is not here: install Debian's prometheus")


def promtool(*words: str, text: str | None = None) -> tuple[int, str]:
    """Run `promtool`; return its exit code and what it said."""
    done = subprocess.run(
        [program("promtool"), *words], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


class Prometheus:
    """A server that runs.

    Args:
        home: where it keeps what it stores, and its log.
        config: its configuration; rule files are named in it.
    """

    def __init__(self, home: Path, config: Mapping[str, Any]) -> None:
        path = home / "prometheus.yml"
        path.write_text(yaml.safe_dump(dict(config)))
        self.port = free_port()
        command = [program("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={home}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=exemplar-storage"]
        command += ["--storage.tsdb.min-block-duration=2h", "--log.level=warn"]
        self.child = Child(
            Plan("prometheus", command, log=home / "prometheus.log", output=home / "prometheus.out")
        )
        self.child.wait_until(self._is_ready)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression as they are now, each with `metric` and `value`."""
        return list(self._asked("query", query=expr)["result"])

    def number(self, expr: str) -> float | None:
        """Return the only sample of an expression; None where there is none."""
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def span(self, expr: str, start_s: float, end_s: float, step_s: float = 1.0) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, each with `metric` and `values`."""
        asked = {"query": expr, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        return list(self._asked("query_range", **asked)["result"])

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """Return the alerts that fire now, by their names."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self._asked("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def exemplars(self, expr: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
        """Return the exemplars of an expression."""
        asked = {"query": expr, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
        found: Any = self._asked("query_exemplars", **asked)
        return list(found)

    def _asked(self, what: str, **fields: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{fields}: {error.read().decode()}") from None
        assert said["status"] == "success", said
        data: dict[str, Any] = said["data"]
        return data

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(home: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Start one, and end it."""
    made = Prometheus(home, config)
    try:
        yield made
    finally:
        made.child.stop()


def scaled(rules: str, factor: float, most_s: float, every_ms: int) -> str:
    """Return rules whose windows and waits are so much shorter, and none longer than `most_s`.

    Args:
        rules: YAML, as Prometheus reads it.
        every_ms: between evaluations.
    """

    def short(text: str, unit: str) -> str:
        return f"{max(1, round(min(int(text) * _UNITS[unit] / factor, most_s) * 1000))}ms"

    document = yaml.safe_load(rules)
    for group in document["groups"]:
        group["interval"] = f"{every_ms}ms"
        for rule in group["rules"]:
            expr = _DURATION.sub(lambda match: short(match[1], match[2]), rule["expr"])
            rule["expr"] = _SECONDS.sub(lambda match: f"{match[1]}{int(match[2]) / factor:g}", expr)
            if "for" in rule:
                rule["for"] = short(rule["for"][:-1], rule["for"][-1])
    return str(yaml.safe_dump(document))
