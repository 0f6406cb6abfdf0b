"""`authz logs`: records read back. What was decided, for whom and why; what is missing; is it all there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from authz.cli import logs_asked as asked
from authz.cli.columns import fitting
from authz.cli.logs_asked import NO, Output, opened, outside, question, stop, usage
from authz.cli.logs_print import Printer, politely
from authz.cli.logs_show import lines, read_record
from authz.cli.options import SettingsFile
from authz.history.line import Found, Kind
from authz.history.one import decision_id, find_one, made_at
from authz.history.scan import Scan
from authz.history.source import Note, Source

app = typer.Typer(no_args_is_help=True, help="Records: find decisions, follow them, explain one, prove them.")

_WHERE = """
    Without a SOURCE the sidecar that runs here is asked for the latest records, which it keeps in memory.

    Exit codes: 0 found; 1 nothing matches; 2 usage; 3 a source cannot be read."""


@app.callback()
def _group() -> None:
    """Records: find decisions, follow them, explain one, prove them."""


def search(
    sources: asked.Sources = None,
    since: asked.Since = "",
    until: asked.Until = "",
    outcome: asked.OfOutcome = "",
    reason: asked.Reasons = None,
    detail: asked.Details = None,
    status: asked.Statuses = None,
    policy: asked.OfPolicy = "",
    rule: asked.OfRule = "",
    key: asked.OfKey = "",
    customer: asked.OfCustomer = "",
    address: asked.OfAddress = "",
    method: asked.OfMethod = "",
    host: asked.OfHost = "",
    path: asked.OfPath = "",
    request_id: asked.OfRequest = "",
    trace_id: asked.OfTrace = "",
    of_sidecar: asked.OfSidecar = "",
    kind: asked.Kinds = None,
    most: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="Stop after so many; 0: do not.")
    ] = 0,
    duplicates: asked.Duplicates = False,
    debug: asked.Debug = None,
    config: SettingsFile = None,
    output: asked.OfOutput = Output.TABLE,
) -> None:
    """Find records, the oldest first.

    Several filters must all hold; of one that repeats, one value must. What is missing is shown as well,
    whatever is searched for: it may be among that.
    """
    wanted = question(
        since=since,
        until=until,
        outcome=outcome,
        reason=reason,
        detail=detail,
        status=status,
        policy=policy,
        rule=rule,
        key=key,
        customer=customer,
        address=address,
        method=method,
        host=host,
        path=path,
        request_id=request_id,
        trace_id=trace_id,
        sidecar=of_sidecar,
        kind=kind,
    )
    scan, printer = Scan(wanted, duplicates=duplicates), Printer(output)
    with opened(sources or (), debug, config) as found, politely():
        stopped = _search(found, scan, printer, most)
        printer.sum_up(scan.tally, stopped)
    only_gaps = wanted.kinds == {Kind.GAP}
    if not (scan.tally.gaps if only_gaps else scan.tally.matched):
        raise typer.Exit(NO)


def show(
    decision: Annotated[
        str, typer.Argument(metavar="ID", help="Of a decision; its last 12 characters, as lists have it, do.")
    ],
    sources: asked.Sources = None,
    debug: asked.Debug = None,
    config: SettingsFile = None,
    output: asked.OfOutput = Output.TABLE,
) -> None:
    """Show one decision in full, and say what it means."""
    with usage():
        wanted = decision_id(decision)
    with opened(sources or (), debug, config) as found:
        one = next(filter(None, (find_one(source, wanted) for source in reversed(found))), None)
        names = ", ".join(source.name for source in found)
    if one is None:
        made = f"; it was made at {made_at(wanted)}" if made_at(wanted) else ""
        stop(f"there is no record of decision {wanted} in {names}{made}", NO)
    if output is Output.JSON:
        with politely():
            Printer(output).show([one])
        return
    with outside():
        record = read_record(one.line)
        with politely(), fitting(sys.stdout):
            for line in lines(record):
                typer.echo(line)


def _search(sources: Sequence[Source], scan: Scan, printer: Printer, most: int) -> str:
    """Show everything that is found; return why it was stopped, or ""."""
    for source in sources:
        for item in source.read():
            if isinstance(item, Note):
                printer.note(item.what)
                continue
            before = scan.tally.matched
            found = scan.take(item)
            if most and scan.tally.matched >= most:
                printer.show(_first(found, most - before))
                return f"stopped after {most}: there may be more"
            printer.show(found)
            printer.progress(source, scan.tally)
    return ""


def _first(found: Sequence[Found], count: int) -> list[Found]:
    """Return as many of what was found, and the gaps among them."""
    chosen = []
    for one in found:
        if one.entry.kind != Kind.GAP:
            if not count:
                break
            count -= 1
        chosen.append(one)
    return chosen


for _command in (search, show):
    _command.__doc__ = f"{_command.__doc__}\n{_WHERE}"
app.command(epilog="Example: authz logs search records.jsonl* --customer acme --since 2h")(search)
app.command(epilog="Example: authz logs show 0bc73c9bc3e5 records.jsonl")(show)
