"""`authz bench`, small: every part runs against the real thing, and its answers are counted."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.bench import buckets, fleet, load, redis_server, reload, run
from authz.bench.openloop import Sample
from authz.bench.records_outage import summed
from authz.bench.records_receiver import Arrival
from authz.bench.records_sides import KAFKA, OFF, OTLP, REDIS, SPOOLED, RecordEffort, sides
from authz.bench.reload import Toil
from authz.bench.run import Effort, Part
from authz.bench.sides import LimitEffort
from authz.cli.main import build
from authz.model.errors import NotStarted
from authz.proxy.stage import short_directory

TOIL = Toil(changes=1, seconds=1, turns=1, few=1, many=2)
LIMITS = LimitEffort(
    rounds=1,
    seconds=0.1,
    open=8,
    rates=(100,),
    paced_rounds=1,
    paced_seconds=0.2,
    sidecars=2,
    fleet_seconds=0.5,
    fault_per_s=100,
    before_s=0.3,
    paused_s=0.3,
    after_s=2.0,
)
RECORDS = RecordEffort(
    places=(OFF, SPOOLED, OTLP),
    rounds=1,
    seconds=0.1,
    open=8,
    per_s=100,
    paced_seconds=0.2,
    fed=5000,
    away_s=0.2,
    later_s=60.0,
)
TINY = Effort(
    rounds=1,
    calls=300,
    warm_calls=64,
    paced_per_s=100,
    seconds=1,
    toil=TOIL,
    limits=LIMITS,
    records=RECORDS,
)
REST = [part.value for part in Part if part not in (Part.LIMITS, Part.RECORDS)]


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
    monkeypatch.setattr(buckets, "KEYS", 100)


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_every_figure_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("authz.cli.bench._QUICK", TINY)
    file = tmp_path / "bench.json"
    parts = [word for part in REST for word in ("--only", part)]
    result = CliRunner().invoke(build(["bench"]), ["bench", "--quick", "--file", str(file), *parts])
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text())
    assert report["ready_s"] > 0
    assert report["limits"] is None
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
def test_limits_are_measured_by_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("authz.cli.bench._QUICK", TINY)
    monkeypatch.setenv("AUTHZ_REDIS_TIMEOUT_MS", "1000")  # a busy machine is nothing that is tested here
    file = tmp_path / "bench.json"
    words = ["bench", "--quick", "--only", "limits", "--file", str(file)]
    result = CliRunner().invoke(build(["bench"]), words)
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text())
    assert (report["ready_s"], report["rows"], report["reloads"], report["proxied"]) == (0.0, [], [], [])
    found = report["limits"]
    for row in found["costs"]:
        assert row["cpu_us"] > 0
        assert row["per_s"] > 0
        if row["store"] == "exact":
            assert row["ratio"] > 0
            assert row["redis_us"] > 0
            assert 0 < row["scripts"] <= 1  # a batch is one call
            assert row["commands"] > row["buckets"]  # each bucket is read, and written, and the time
    assert {row["buckets"] for row in found["costs"] if row["store"] == "exact"} == {1, 2, 3, 6}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in found["paces"])
    memory, exact = found["hot"]
    assert memory["redis_us"] == 0.0
    assert 0 < exact["scripts"] < 1  # most refusals are remembered
    assert found["fleet"]["sidecars"] == 2
    assert found["fleet"]["promised"] == int(1000 + 2000 * found["fleet"]["seconds"])
    assert 0 < found["fleet"]["admitted"] <= found["fleet"]["promised"]
    paused, killed, promoted = found["disturbed"]
    assert paused["slowest_ms"] > 100  # within its timeout Redis is waited for
    assert killed["alone"] > 0
    assert promoted["alone"] > 0
    for row in found["disturbed"]:
        assert row["calls"] > 0
        assert row["errors"] == 0


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_without_redis_the_rest_of_limits_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.cli.bench._QUICK", TINY)
    monkeypatch.setattr(redis_server, "server_program", lambda: None)
    result = CliRunner().invoke(build(["bench"]), ["bench", "--quick", "--only", "limits"])
    assert result.exit_code == 0, result.output
    assert "redis-server is not here, so these are left out: exact limits" in result.output
    assert "2 buckets, memory" in result.output


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_a_fleet_that_admits_too_much_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    place = short_directory()
    callers = buckets.write(place / "limits")
    # Each has buckets of its own, so two admit twice what one bucket would.
    monkeypatch.setattr(fleet, "_environment", lambda *_: {})
    monkeypatch.setattr(fleet, "linked", lambda *_: None)
    with ExitStack() as stack:
        redis = redis_server.RedisServer(place, stack)
        with pytest.raises(NotStarted, match="2 sidecars admitted more than was promised"):
            fleet.fleet(place, callers, redis, LIMITS, lambda _: None)


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_records_are_measured_by_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not all places, for want of time: each sink has tests of its own."""
    monkeypatch.setattr("authz.cli.bench._QUICK", TINY)
    file = tmp_path / "bench.json"
    words = ["bench", "--quick", "--only", "records", "--file", str(file)]
    result = CliRunner().invoke(build(["bench"]), words)
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())["records"]
    rows = {row["name"]: row for row in found["rows"]}
    assert [*rows] == [OFF, SPOOLED, OTLP]
    assert all(row["judge_us"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    off = rows.pop(OFF)
    assert (off["shipper_us"], off["shipper_mib"], off["kept_mib_per_million"]) == (0.0, 0.0, 0.0)
    assert all(row["shipper_us"] > 0 and row["shipper_mib"] > 0 for row in rows.values())
    assert rows[SPOOLED]["kept_mib_per_million"] > 100  # a record is longer than 100 bytes
    plain, chained = found["fed"]
    assert plain["records"] == chained["records"] == 5000
    assert plain["per_s"] > 0
    assert plain["shipper_us"] > 0
    assert chained["file_mib_per_million"] > plain["file_mib_per_million"] > 800
    assert found["replay"]["backlog"] > 0
    assert found["replay"]["per_s"] > 0


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_what_is_not_here_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis_server, "server_program", lambda: None)
    monkeypatch.setattr("authz.bench.kafka_server.shutil.which", lambda _: None)
    effort = replace(RECORDS, places=(OFF, REDIS, KAFKA))
    callers = buckets.write(tmp_path / "written")
    with ExitStack() as stack:
        found, missing = sides(tmp_path, callers.policies, effort, stack, lambda _: None)
        assert [side.name for side in found] == [OFF]
    assert [line.partition(":")[0] for line in missing] == [REDIS, KAFKA]
    assert "java is not here" in missing[1]


def test_a_backlog_is_delivered_once_what_waited_and_what_came_meanwhile_has_arrived() -> None:
    came = [Arrival(10.0, 400), Arrival(10.5, 700), Arrival(11.0, 100), Arrival(12.0, 100)]
    samples = [Sample(9.0 + number / 100, 0.002 if number < 200 else 0.9, 0) for number in range(400)]
    found = summed(1000, samples, came, 8.0, 100, samples[:1], samples[:1])
    assert (found.back_s, found.replay_s) == (2.0, 0.5)  # new ones lag by as much as a batch waits
    assert found.per_s == 2200
    assert found.replay_p99_ms == pytest.approx(2.0)  # what was due later does not count


@pytest.mark.bench
@pytest.mark.usefixtures("small")
def test_without_generators_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "missing", lambda: ["h2load", "wrk"])
    result = CliRunner().invoke(build(["bench"]), ["bench", "--quick", "--only", "start"])
    assert result.exit_code == 0
    assert "install Debian's nghttp2-client" in result.output


@pytest.mark.bench
@pytest.mark.usefixtures("small")
@pytest.mark.skipif(load.missing() != [], reason="needs h2load and wrk")
def test_a_figure_with_other_answers_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.bench.documents._OF_IDENTITY", '"items:write" in identity.scopes')
    with pytest.raises(NotStarted, match="0 of 300 checks ended as `allowed`"):
        run.run(short_directory(), TINY, lambda _: None)
