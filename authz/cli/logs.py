"""`authz logs`: records read back. What was decided, for whom and why; what is missing; is it all there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from authz.cli import logs_asked as asked
from authz.cli.columns import fitting
from authz.cli.endings import NO, USAGE, outside, stop, usage
from authz.cli.logs_asked import Output, opened
from authz.cli.logs_filters import filtered
from authz.cli.logs_print import Printer, politely
from authz.cli.logs_show import lines, read_record
from authz.cli.logs_tail import Follower, last
from authz.cli.logs_verify import verify
from authz.cli.options import SettingsFile
from authz.history.line import Found, Kind
from authz.history.one import decision_id, find_one, made_at
from authz.history.question import Question
from authz.history.scan import Scan
from authz.history.source import Note, Source

app = typer.Typer(no_args_is_help=True, help="Records: find decisions, follow them, explain one, prove them.")

_INTERRUPTED = 130  # as shells have it
_WHERE = """
    Without a SOURCE the sidecar that runs here is asked for the latest records, which it keeps in memory.

    Exit codes: 0 found; 1 nothing matches; 2 usage; 3 a source cannot be read."""


@app.callback()
def _group() -> None:
    """Records: find decisions, follow them, explain one, prove them."""


def search(
    wanted: Question,
    sources: asked.Sources = None,
    most: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="Stop after so many; 0: do not.")
    ] = 0,
    duplicates: asked.Duplicates = False,
    debug: asked.Debug = None,
    config: SettingsFile = None,
    output: asked.OfOutput = Output.TABLE,
) -> None:
    """Find records, the oldest first.

    All filters must hold; of one that repeats, one value must. Records that are missing are told of, whatever
    is searched for: it may be among them.
    """
    scan, printer, stopped = Scan(wanted, most=most, duplicates=duplicates), Printer(output), ""
    with opened(sources or (), debug, config) as found, politely():
        try:
            stopped = _search(found, scan, printer)
        except KeyboardInterrupt:
            printer.sum_up(scan.tally, "interrupted: the rest was not read")
            raise typer.Exit(_INTERRUPTED) from None
        printer.sum_up(scan.tally, stopped)
    only_gaps = wanted.kinds == {Kind.GAP}
    if not (scan.tally.gaps if only_gaps else scan.tally.matched):
        raise typer.Exit(NO)


def tail(
    wanted: Question,
    sources: asked.Sources = None,
    count: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, max=100_000, help="So many of the last.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    duplicates: asked.Duplicates = False,
    debug: asked.Debug = None,
    config: SettingsFile = None,
    output: asked.OfOutput = Output.TABLE,
) -> None:
    """Show the last records, and follow those that come.

    A file that is rotated or cut is followed on; a sidecar or Redis that goes away is asked again.
    """
    scan, printer = Scan(wanted, duplicates=duplicates), Printer(output)
    with opened(sources or (), debug, config) as found, politely():
        for why in filter(None, (source.cannot_follow() for source in found)):
            if follow:
                stop(f"--follow: {why}", USAGE)
        try:
            shown = last(found, scan, printer, count)
            printer.show(shown)
            if follow:
                Follower(found, scan, printer).run()
        except KeyboardInterrupt:
            printer.clear()
            return
        printer.flaws(scan.tally)
    if not shown and not follow:
        stop("nothing matches", NO)


def show(
    decision: Annotated[
        str, typer.Argument(metavar="ID", help="Of a decision. Its last 8 characters or more do.")
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
        one = _found_in(found, wanted)
        names = ", ".join(source.name for source in found)
    if one is None:
        made = f"; it was made at {made_at(wanted)}" if made_at(wanted) else ""
        stop(f"there is no record of decision {wanted} in {names}{made}", NO)
    with outside(), politely(), fitting(sys.stdout):
        if output is Output.JSON:
            Printer(output).show([one])
            return
        for line in lines(read_record(one.line)):
            typer.echo(line)


def _found_in(sources: Sequence[Source], wanted: str) -> Found | None:
    found = (find_one(source, wanted) for source in reversed(sources))
    return next((one for one in found if one is not None), None)


def _search(sources: Sequence[Source], scan: Scan, printer: Printer) -> str:
    """Show everything that is found; return why it was stopped, or ""."""
    for source in sources:
        for item in source.read():
            if isinstance(item, Note):
                printer.note(item.what)
                continue
            printer.show(scan.take(item))
            if scan.is_full:
                return f"stopped after {scan.tally.matched:,}: there may be more"
            printer.progress(source, scan.tally)
    return ""


for _command in (search, tail, show):
    _command.__doc__ = f"{_command.__doc__}\n{_WHERE}"
app.command(epilog="Example: authz logs tail --follow --outcome deny")(filtered(tail))
app.command(epilog="Example: authz logs search records.jsonl* --customer acme --since 2h")(filtered(search))
app.command(epilog="Example: authz logs show 0bc73c9bc3e5 records.jsonl")(show)
app.command(epilog="Example: authz logs verify records.jsonl* --key records.pub.pem")(verify)
