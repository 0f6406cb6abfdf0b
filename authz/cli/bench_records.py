"""The tables of `authz bench` about records, each with what is aimed at beside it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from authz.bench.records import FED_PER_S_AIM, P99_AIM, RecordReport, RecordRow
from authz.bench.records_feed import Fed
from authz.bench.records_outage import Replay


def show(report: RecordReport, console: Console) -> None:
    """Print everything."""
    effort = report.effort
    console.print(f"records; medians of {effort.rounds} interleaved rounds of {effort.seconds:g} s")
    for line in report.missing:
        console.print(f"left out: {line}")
    console.print(_rows(report.rows, effort.per_s))
    dropped = sum(row.dropped for row in report.rows)
    console.print(f"records dropped in all of it: {dropped}")
    console.print(_p99(report.rows))
    console.print(_fed(report.fed))
    plain = report.fed[0].per_s if report.fed else 0.0
    console.print(f"{plain:,.0f} records/s through the spool into a file (aim: {FED_PER_S_AIM:,} at least)")
    if report.replay is not None:
        for line in _replayed(report.replay):
            console.print(line)


def _p99(rows: Sequence[RecordRow]) -> str:
    over = [f"{row.name} {row.p99_ratio:.2f}" for row in rows if row.p99_ratio > P99_AIM]
    aim = f"p99 with any sink against none (aim: {P99_AIM:.1f} x at most): "
    return aim + (f"over it: {', '.join(over)}" if over else "all within it")


def _rows(rows: Sequence[RecordRow], per_s: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("records to")
    heads = ("CPU us", "x off", "shipper us", "checks/s", f"p50 ms at {per_s:,}/s", "p99 ms", "x off")
    for head in (*heads, "MiB", "shipper MiB", "kept MiB/million"):
        table.add_column(head, justify="right")
    for row in rows:
        cells = [f"{row.judge_us:.1f}", f"{row.ratio:.2f}", _or_none(row.shipper_us, ".1f")]
        cells += [f"{row.per_s:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.p99_ratio:.2f}"]
        cells += [f"{row.sidecar_mib:.0f}", _or_none(row.shipper_mib), _or_none(row.kept_mib_per_million)]
        table.add_row(row.name, *cells)
    return table


def _fed(rows: Sequence[Fed]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("fed directly")
    heads = ("records/s", "MiB/s", "writer us", "shipper us", "shipper MiB", "file MiB/million")
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        cells = (f"{row.per_s:,.0f}", f"{row.mib_per_s:.0f}", f"{row.writer_us:.1f}", f"{row.shipper_us:.1f}")
        table.add_row(row.name, *cells, f"{row.shipper_mib:.0f}", f"{row.file_mib_per_million:,.0f}")
    return table


def _replayed(row: Replay) -> tuple[str, str]:
    return (
        f"a sink that was away: {row.backlog:,} records waited, the first was taken {row.back_s:.1f} s after"
        f" it came back, then {row.per_s:,.0f}/s for {row.replay_s:.1f} s",
        f"p99 at {row.rate_per_s:,}/s: {row.quiet_p99_ms:.2f} ms before, {row.away_p99_ms:.2f} while it was"
        f" away, {row.replay_p99_ms:.2f} while it caught up",
    )


def _or_none(value: float, form: str = ",.0f") -> str:
    return format(value, form) if value else ""
