"""`authz bench`, small: every part runs against the real thing, and its answers are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.bench import load, reload, run
from authz.bench.reload import Toil
from authz.bench.run import Effort
from authz.cli.main import build
from authz.model.errors import NotStarted
from authz.proxy.stage import short_directory

TOIL = Toil(changes=1, seconds=1, turns=1, few=1, many=2)
TINY = Effort(rounds=1, calls=300, warm_calls=64, paced_per_s=100, seconds=1, toil=TOIL)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "KEYS", 20)
    monkeypatch.setattr(run, "SIZES", (20, 10, 30))
    monkeypatch.setattr(run, "ONE_HOST", 20)
    monkeypatch.setattr(reload, "KEYS", 20)
    monkeypatch.setattr(reload, "SIZES", (10, 20))
    monkeypatch.setattr(reload, "MEMORY_SIZE", 10)
    monkeypatch.setattr(run, "START_POLICIES", 5)
    monkeypatch.setattr(run, "START_KEYS", 5)


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_every_figure_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("authz.cli.bench._QUICK", TINY)
    file = tmp_path / "bench.json"
    result = CliRunner().invoke(build(["bench"]), ["bench", "--quick", "--file", str(file)])
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text())
    assert report["ready_s"] > 0
    if "h2load" not in report["missing"]:
        assert len(report["rows"]) == 15
        assert [row["policies"] for row in report["reloads"]] == [10, 20]
        assert all(row["latency_ms"] > 0 and row["refused"] == 0 for row in report["reloads"])
        assert report["kept"]["many_mib"] > 0
        assert "memory after 2 reloads" in result.output
        assert all(row["per_s"] > 0 for row in report["rows"])
        assert "10,000 policies instead of 10" in result.output
    if "wrk" not in report["missing"]:
        assert [row["name"] for row in report["proxied"]] == [
            "Envoy without authorization",
            "Envoy with authz, whole check",
        ]


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_without_generators_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "missing", lambda: ["h2load", "wrk"])
    result = CliRunner().invoke(build(["bench"]), ["bench", "--quick"])
    assert result.exit_code == 0
    assert "install Debian's nghttp2-client" in result.output


@pytest.mark.bench
@pytest.mark.usefixtures("small")
@pytest.mark.skipif(load.missing() != [], reason="needs h2load and wrk")
def test_a_figure_with_other_answers_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.bench.documents._OF_IDENTITY", '"items:write" in identity.scopes')
    with pytest.raises(NotStarted, match="0 of 300 checks ended as `allowed`"):
        run.run(short_directory(), TINY, lambda _: None)
