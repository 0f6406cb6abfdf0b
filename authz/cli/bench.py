"""`authz bench`: cost per check against an empty server, in one run."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from authz.bench.records_sides import RecordEffort
from authz.bench.reload import Reloads, Toil
from authz.bench.run import Effort, Part, Report, Row, run
from authz.bench.sides import LimitEffort
from authz.cli import bench_limits, bench_records
from authz.model.errors import NotStarted

_QUICK_TOIL = Toil(changes=3, seconds=1, turns=1, few=3, many=10)
_QUICK_LIMITS = LimitEffort(
    rounds=2,
    seconds=0.3,
    rates=(500,),
    paced_rounds=1,
    paced_seconds=1.0,
    sidecars=3,
    fleet_seconds=1.0,
    after_s=3.0,
)
_QUICK_RECORDS = RecordEffort(rounds=2, seconds=0.3, per_s=500, paced_seconds=1.0, fed=50_000, away_s=0.5)
_QUICK = Effort(
    rounds=2,
    calls=4000,
    warm_calls=1000,
    paced_per_s=500,
    seconds=1,
    toil=_QUICK_TOIL,
    limits=_QUICK_LIMITS,
    records=_QUICK_RECORDS,
)


def command(
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Interleaved rounds; medians are shown.")
    ] = 5,
    calls: Annotated[int, typer.Option("--calls", min=1000, help="Checks per case and round.")] = 30_000,
    quick: Annotated[bool, typer.Option("--quick", help="A minute, to see that it works.")] = False,
    only: Annotated[
        list[Part] | None,
        typer.Option("--only", metavar="|".join(Part), help="Measure this part alone; may be repeated."),
    ] = None,
    output: Annotated[str, typer.Option("--output", metavar="table|json")] = "table",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Write the JSON there too.")
    ] = None,
) -> None:
    """Measure what a check costs on this machine.

    Against an empty server on the same front, so that figures can be compared.

    Needs `h2load` (Debian: nghttp2-client), `wrk`, `redis-server` and, for records to Kafka, Java and its
    jars; what is missing is said and left out.
    """
    progress = Console(stderr=True)
    directory = Path(tempfile.mkdtemp(prefix="authz-bench-"))
    try:
        report = run(
            directory,
            _QUICK if quick else _effort(rounds, calls),
            lambda what: progress.print(f"[dim]{what}[/dim]"),
            frozenset(only or Part),
        )
    except NotStarted as fault:
        progress.print(f"authz bench: {fault}\n{fault.tail}", markup=False, soft_wrap=True)
        raise typer.Exit(3) from None
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if file is not None:
        file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if output == "json":
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)


def _effort(rounds: int, calls: int) -> Effort:
    return Effort(
        rounds=rounds, calls=calls, limits=LimitEffort(rounds=rounds), records=RecordEffort(rounds=rounds)
    )


def _print(report: Report) -> None:
    console = Console(width=None if Console().is_terminal else 120)
    effort = report.effort
    console.print(f"{report.machine}; medians of {effort.rounds} interleaved rounds of {effort.calls} checks")
    for name in report.missing:
        package = {"h2load": "nghttp2-client"}.get(name, name)
        console.print(f"{name} is not here, so its figures are left out: install Debian's {package}")
    if report.rows:
        console.print(_table("checks", f"at {effort.paced_per_s}/s", report.rows, ratio=True))
        dropped, asked = sum(row.records_dropped for row in report.rows), effort.rounds * effort.calls
        console.print(f"records dropped at full speed: {dropped} of {asked * (len(report.rows) - 2):,}")
        console.print(f"10,000 policies instead of 10: {report.size_ratio:.2f} x the CPU")
    if report.reloads:
        console.print(_reloads(report.reloads, effort.paced_per_s))
    if report.kept is not None:
        kept = report.kept
        after = f"memory after {kept.many} reloads {kept.many_mib:.1f} MiB"
        console.print(f"{after}, after {kept.few} {kept.few_mib:.1f} MiB")
    if report.proxied:
        console.print(_table("requests", "at full speed", report.proxied, ratio=False))
    if report.limits is not None:
        bench_limits.show(report.limits, console)
    if report.records is not None:
        bench_records.show(report.records, console)
    if report.ready_s:
        console.print(f"ready after {report.ready_s:.2f} s with 1,000 policies and 1,000 keys")


def _reloads(rows: list[Reloads], per_s: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    heads = ("enforced after ms", f"p99 us at {per_s}/s", "while it reloads", "refused")
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        cells = (
            f"{row.latency_ms:.0f}",
            f"{row.quiet_p99_us:,.0f}",
            f"{row.reload_p99_us:,.0f}",
            str(row.refused),
        )
        table.add_row(f"reload, {row.policies} policies", *cells)
    return table


def _table(what: str, when: str, rows: list[Row], *, ratio: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    heads = ["CPU us", *(["x empty"] if ratio else []), f"{what}/s", f"p50 us {when}", f"p99 us {when}"]
    for head in [*heads, *(["memory MiB"] if ratio else [])]:
        table.add_column(head, justify="right")
    for row in rows:
        cells = [f"{row.cpu_us:.1f}", *([f"{row.ratio:.2f}"] if ratio else []), f"{row.per_s:,.0f}"]
        cells += [f"{value:,.0f}" if value else "" for value in (row.p50_us, row.p99_us)]
        cells += [f"{row.memory_mib:.0f}"] if ratio else []
        table.add_row(row.name, *cells)
    return table
