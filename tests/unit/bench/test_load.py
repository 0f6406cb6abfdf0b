"""Generators are believed only where every answer came."""

from __future__ import annotations

import pytest

from authz.bench import load
from authz.model.errors import NotStarted

WRK = """Running 1s test @ http://127.0.0.1:1/
  Latency Distribution
     50%    1.19ms
     99%  828.00us
  12345 requests in 1.00s, 2.10MB read
{odd}Requests/sec:  12340.50
"""


def test_wrk_is_read_with_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_run", lambda _: WRK.format(odd=""))
    run = load.requests("http://x", {}, 1)
    assert (run.calls, run.p50_us, run.p99_us, run.refused) == (12345, 1190.0, 828.0, 0)


def test_wrk_counts_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "  Non-2xx or 3xx responses: 7\n"
    monkeypatch.setattr(load, "_run", lambda _: WRK.format(odd=odd))
    assert load.requests("http://x", {}, 1).refused == 7


def test_h2load_must_have_answered_everything() -> None:
    line = "requests: 10 total, 10 started, 10 done, 9 succeeded, 1 failed, 1 errored, 0 timeout"
    with pytest.raises(NotStarted, match="not all of 10"):
        load._require_all(line, 10)


def test_a_generator_that_fails_is_an_error() -> None:
    with pytest.raises(NotStarted, match="`false` ended with 1"):
        load._run(["false"])


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "wrk" else "/usr/bin/" + name)
    assert load.missing() == ["wrk"]
