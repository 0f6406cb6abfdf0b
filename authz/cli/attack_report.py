"""What `authz attack` prints: a table by class, what did not hold in full, or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authz.attack.case import Case, Wire
from authz.attack.report import Finding, Report
from authz.attack.suite import CLASSES

_SHOWN = 25  # findings in full; JSON has them all


def print_json(told: Report) -> None:
    """Print everything, for machines."""
    typer.echo(json.dumps(told.as_json(), indent=2))


def print_table(told: Report) -> None:
    """Print the counts of each class, then each case that did not hold."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else 110
    console = Console(highlight=False, width=width)
    table = Table(box=None, pad_edge=False)
    for heading in ("class", "held", "broken", "skipped"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in told.rows:
        cells = (str(number) if number else "" for number in row[1:])
        table.add_row(row.group, *cells, style="red" if row.broken else "")
    console.print(table)
    for finding in told.findings[:_SHOWN]:
        _print_finding(console, finding)
    if len(told.findings) > _SHOWN:
        console.print(f"\n... and {len(told.findings) - _SHOWN} more; --output json has them all")
    _print_end(console, told)


def _print_finding(console: Console, finding: Finding) -> None:
    mark = f"\n{finding.severity.upper()}  {finding.group}: {finding.name}  [{finding.wire}]"
    console.print(Text(mark, style="bold"))
    lines = [finding.what, f"why it matters: {finding.why}"]
    lines += [f"it happened before: {finding.advisory}"] if finding.advisory else []
    for line in [*lines, f"again: {finding.repeat}"]:
        console.print(Text(f"  {line}"), soft_wrap=line.startswith("again"))


def _print_end(console: Console, told: Report) -> None:
    console.print()
    for reason, number in sorted(told.unasked.items(), key=lambda pair: -pair[1]):
        console.print(Text(f"skipped {number}: {reason}"))
    high = sum(finding.severity == "high" for finding in told.findings)
    low = len(told.findings) - high
    console.print(
        f"{told.held} held, {high} got through, {low} less grave;"
        f" seed {told.seed}, {told.seconds:.1f} s"
    )  # fmt: skip
    if not told.grounded:
        console.print(
            "this proves nothing: no request was seen to pass, and what refuses everything holds;"
            " give --open or --key"
        )
    if not told.whole:
        told_of = "what was skipped may be open; give it more --budget"
        nothing = "nothing that was chosen could be tried; choose other classes, or name what they need"
        console.print(Text(f"this run was not whole: {told_of if told.cut_short else nothing}"))


def print_list(cases: Sequence[Case], output: str) -> None:
    """Print the classes that were chosen, with the number of their cases and the wires they travel."""
    counts = Counter(case.group for case in cases)
    rows = [(name, counts[name], _wires(cases, name), CLASSES[name]) for name in CLASSES if counts[name]]
    if output == "json":
        keys = ("class", "cases", "wires", "what")
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("class", "cases", "wires", "what"):
        table.add_column(heading, justify="right" if heading == "cases" else "left")
    for name, number, wires, what in rows:
        table.add_row(name, str(number), ", ".join(wires), what)
    Console(highlight=False, width=None if Console().is_terminal else 150).print(table)


def _wires(cases: Sequence[Case], group: str) -> list[str]:
    short = {Wire.HTTP1: "http/1", Wire.HTTP2: "http/2", Wire.RAW: "check", Wire.FRAMES: "frames"}
    return [short[wire] for wire in short if any(case.group == group and case.fits(wire) for case in cases)]
