"""The callers and limits of the bench of limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.bench import buckets
from authz.bench.openloop import split
from authz.cli.main import build


def test_each_caller_asks_every_host_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(buckets, "KEYS", 20)
    callers = buckets.write(tmp_path / "limits")
    assert sorted(callers.nested) == [1, 2, 3, 6]
    for file in (*callers.nested.values(), callers.hot, callers.fleet):
        calls = split(file.read_bytes())
        assert len(calls) == len(set(calls)) == 20
        assert all(token.encode() in call for token, call in zip(callers.policies.tokens, calls, strict=True))


def test_the_documents_are_a_set_that_can_be_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(buckets, "KEYS", 20)
    callers = buckets.write(tmp_path / "limits")
    words = ["policy", "validate", str(callers.policies.directory)]
    result = CliRunner().invoke(build(words), words)
    assert result.exit_code == 0, result.output
