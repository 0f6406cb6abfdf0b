"""How the bench tells of limits: each figure beside its aim, and nothing silently left out."""

from __future__ import annotations

import io

from rich.console import Console

from authz.bench.disturbance import Disturbance
from authz.bench.fleet import Fleet, Hot
from authz.bench.limits import WITHOUT_REDIS, LimitReport
from authz.bench.nested import Cost, Pace
from authz.bench.sides import EXACT, MEMORY, LimitEffort
from authz.cli import bench_limits

WIDTH = 110


def shown(report: LimitReport) -> str:
    out = io.StringIO()
    bench_limits.show(report, Console(file=out, width=WIDTH))
    return out.getvalue()


def exact(workers: int, per_s: float) -> Cost:
    name = f"2 buckets, exact, {workers} workers" if workers > 1 else "2 buckets, exact"
    return Cost(name, EXACT, 2, workers, 31.4, per_s, 1.284, 3.21, 0.043, 2.31)


def whole() -> LimitReport:
    report = LimitReport(LimitEffort(), "7.0.15")
    memory = Cost("2 buckets, memory", MEMORY, 2, cpu_us=24.5, per_s=30_123.0)
    report.costs = [memory, exact(1, 24_000.0), exact(2, 27_500.0)]
    report.paces = [Pace("2 buckets, exact, 2 workers", EXACT, 10_000, 0.512, 2.345, 0.123, 7)]
    report.hot = [
        Hot("memory", MEMORY, 20.1, 40_000.0, 0.0, 0.0, 0.0, 0.995),
        Hot("exact", EXACT, 21.2, 39_000.0, 0.02, 0.0011, 0.0042, 0.995),
    ]
    report.fleet = Fleet(20, 5.01, 30_000, 10_990, 11_020, 3, 0, 61.0, 4.2, 0.31, 8.8)
    report.disturbed = [
        Disturbance("killed, back after 1 s", 1000, 1.02, 1500, 21.2, 24.9, 1400, 2, 0, 0.45, 0),
        Disturbance("killed, its replica promoted", 1000, 0.9, 5000, 22.0, 31.0, 5000, 0, 1, -1.0, 12),
    ]
    return report


def test_every_figure_stands_beside_its_aim() -> None:
    text = shown(whole())
    assert "2 buckets, exact: 1.28 x memory (aim: 1.40 at most), 1.41 x with Redis' own CPU" in text
    assert "27,500 checks/s, Redis and generator included (aim: 25,000 at least)" in text
    assert "aims: p99 while Redis is paused 25 ms at most, back 3 s after it at most" in text


def test_rows_have_what_their_column_says() -> None:
    rows = {line.split("  ")[0]: line.split() for line in shown(whole()).splitlines()}
    assert rows["2 buckets, memory"][3:] == ["24.5", "30,123"]
    assert rows["exact"][1:] == ["21.2", "38,805", "0.02", "0.0011", "0.0042", "99.5%"]
    assert rows["20 sidecars, 5.0 s"][4:] == ["30,000", "10,990", "11,020", "3", "0", "61", "4.2", "8.8"]
    killed = ["21.2", "24.9", "1,500", "1,400", "2", "0", "1.02", "0.45", "0"]
    assert rows["killed, back after 1 s"][5:] == killed


def test_who_does_not_recover_has_no_time_to_recover() -> None:
    (line,) = [line for line in shown(whole()).splitlines() if "promoted" in line]
    assert line.split()[-2:] == ["none", "12"]


def test_turns_that_did_not_count_are_told() -> None:
    report = whole()
    assert "taken again" not in shown(report)
    report.costs[1].repeated = 2
    assert "turns taken again, since Redis or a check was too late in them: 2" in shown(report)


def test_no_line_is_broken_or_cut() -> None:
    text = shown(whole())
    assert "…" not in text
    assert sum("killed, back after 1 s" in line for line in text.splitlines()) == 1


def test_without_redis_each_part_that_is_missing_is_named() -> None:
    report = LimitReport(LimitEffort(), missing=[*WITHOUT_REDIS])
    report.costs = [Cost("2 buckets, memory", MEMORY, 2, cpu_us=24.5, per_s=30_123.0)]
    text = " ".join(shown(report).split())
    assert "no Redis" in text
    assert "install Debian's redis-server" in text
    for part in WITHOUT_REDIS:
        assert part in text
    assert "aim" not in text
