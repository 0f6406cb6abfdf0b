"""The tables of `authz bench` about limits, each with what is aimed at beside it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from authz.bench.buckets import FLEET_BURST, FLEET_PER_S, KEYS
from authz.bench.disturbance import P99_AIM_MS, RECOVERY_AIM_S, Disturbance
from authz.bench.fleet import Fleet, Hot
from authz.bench.limits import LimitReport
from authz.bench.nested import AIMED_AT, PER_S_AIM, RATIO_AIM, Cost, Pace
from authz.bench.sides import EXACT, MEMORY


def show(report: LimitReport, console: Console) -> None:
    """Print everything."""
    effort = report.effort
    redis = f"Redis {report.redis} on this machine" if report.redis else "no Redis"
    console.print(f"limits, {redis}; medians of {effort.rounds} interleaved rounds of {effort.seconds:g} s")
    if report.missing:
        left_out = ", ".join(report.missing)
        console.print(f"redis-server is not here, so these are left out: {left_out}")
        console.print("install Debian's redis-server")
    console.print(_costs(report.costs))
    repeated = sum(row.repeated for row in report.costs)
    if repeated:
        console.print(f"turns taken again, since Redis or a check was too late in them: {repeated}")
    for line in _aims(report):
        console.print(line)
    console.print(_paces(report.paces))
    console.print(_hot(report.hot))
    if report.fleet is not None:
        console.print(_fleet(report.fleet))
    if report.disturbed:
        console.print(_disturbed(report.disturbed))
        console.print(
            f"aims: p99 while Redis is paused {P99_AIM_MS} ms at most,"
            f" back {RECOVERY_AIM_S:g} s after it at most"
        )


def _table(head: str, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(head)
    for each in heads:
        table.add_column(each, justify="right")
    return table


def _costs(rows: list[Cost]) -> Table:
    heads = ("CPU us", "x memory", "checks/s", "Redis CPU us", "Redis calls", "Redis commands")
    table = _table(f"checks of {KEYS:,} callers", *heads)
    for row in rows:
        cells = [f"{row.cpu_us:.1f}", "", f"{row.per_s:,.0f}", "", "", ""]
        if row.store == EXACT:
            cells[1] = f"{row.ratio:.2f}"
            cells[3:] = [f"{row.redis_us:.1f}", f"{row.scripts:.2f}", f"{row.commands:.2f}"]
        table.add_row(row.name, *cells)
    return table


def _aims(report: LimitReport) -> Iterator[str]:
    rows = report.cost(AIMED_AT, EXACT)
    if not rows:
        return
    exact, best = rows[0], max(row.per_s for row in rows)
    memory = report.cost(AIMED_AT, MEMORY)[0]
    with_redis = (exact.cpu_us + exact.redis_us) / memory.cpu_us
    yield (
        f"{AIMED_AT} buckets, exact: {exact.ratio:.2f} x memory (aim: {RATIO_AIM:.2f} at most),"
        f" {with_redis:.2f} x with Redis' own CPU"
    )
    whole = f"{best:,.0f} checks/s, Redis and generator included (aim: {PER_S_AIM:,} at least)"
    yield f"{AIMED_AT} buckets, exact: {whole}"


def _paces(rows: list[Pace]) -> Table:
    table = _table("", "at /s", "p50 ms", "p99 ms", "of it generator p99", "not allowed")
    for row in rows:
        cells = (f"{row.rate_per_s:,}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}")
        table.add_row(row.name, *cells, f"{row.behind_p99_ms:.2f}", str(row.others))
    return table


def _hot(rows: list[Hot]) -> Table:
    heads = ("CPU us", "refusals/s", "Redis CPU us", "Redis calls", "Redis commands", "refused")
    table = _table("one hot bucket", *heads)
    for row in rows:
        cells = [f"{row.cpu_us:.1f}", f"{row.per_s * row.refused:,.0f}", "", "", "", f"{row.refused:.1%}"]
        if row.store == EXACT:
            cells[2:5] = [f"{row.redis_us:.2f}", f"{row.scripts:.4f}", f"{row.commands:.4f}"]
        table.add_row(row.name, *cells)
    return table


def _fleet(row: Fleet) -> Table:
    heads = ("asked", "admitted", "promised", "alone", "no answer", "CPU us", "Redis CPU us", "p99 ms")
    table = _table(f"one bucket of {FLEET_PER_S:,}/s, burst {FLEET_BURST:,}", *heads)
    counts = (row.asked, row.admitted, row.promised, row.alone, row.errors)
    costs = (f"{row.cpu_us:.0f}", f"{row.redis_us:.1f}", f"{row.p99_ms:.1f}")
    table.add_row(f"{row.sidecars} sidecars, {row.seconds:.1f} s", *(f"{one:,}" for one in counts), *costs)
    return table


def _disturbed(rows: list[Disturbance]) -> Table:
    heads = ("p99 ms", "slowest", "calls", "alone", "refused", "no answer", "gone s", "back s", "later")
    table = _table(f"Redis, at {rows[0].rate_per_s:,}/s", *heads)
    for row in rows:
        cells = [f"{row.p99_ms:.1f}", f"{row.slowest_ms:.1f}"]
        cells += [f"{one:,}" for one in (row.calls, row.alone, row.refused, row.errors)]
        recovery = f"{row.recovery_s:.2f}" if row.recovery_s >= 0 else "none"
        table.add_row(row.name, *cells, f"{row.lasted_s:.2f}", recovery, f"{row.later:,}")
    return table
