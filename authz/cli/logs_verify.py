"""`authz logs verify`: are the records all there, as they were shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz.cli.colour import coloured
from authz.cli.endings import NO, USAGE, outside, stop
from authz.cli.logs_asked import OfOutput, Output, opened
from authz.cli.logs_print import Printer, count, politely
from authz.cli.options import SettingsFile
from authz.history.finding import Finding, Report, StreamReport
from authz.history.in_spool import SpoolSource
from authz.history.source import Note
from authz.history.verify import Verifier
from authz.model.text import visible
from authz.record.chain import read_public_key

_SHOWN = 50  # findings that people are shown; JSON has all
_UNPROVEN = (
    "what this cannot prove: that nothing is missing after the last checkpoint, or that whoever has the"
    " private key made none of it up; see docs/evidence.md"
)


def verify(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="All files of them (`-`: standard input; .gz too), or redis://..."
        ),
    ],
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--key", metavar="PUBLIC.pem", help="Public key that signs checkpoints; repeat after a change."
        ),
    ] = None,
    config: SettingsFile = None,
    output: OfOutput = Output.TABLE,
) -> None:
    """Say whether records are all there, as they were shipped, and where they are not.

    Exit codes: 0 nothing is wrong; 1 something is, or no line is there; 2 usage; 3 a file cannot be
    read.
    """
    with outside():
        verifier = Verifier([read_public_key(path) for path in keys or ()])
    printer = Printer(output)
    with opened(sources, None, config) as found, politely():
        for source in found:
            if isinstance(source, SpoolSource):
                stop(
                    f"`{source.name}`: chains begin where records are shipped: verify what a sink has", USAGE
                )
            for item in source.read():
                if isinstance(item, Note):
                    printer.note(item.what)
                    continue
                verifier.take(item)
                printer.progress(source)
        printer.clear()
        report = verifier.report()
        if output is Output.JSON:
            typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
        else:
            for line in _lines(report, signed=bool(keys)):
                typer.echo(line)
    if not report.sound or not report.lines:
        raise typer.Exit(NO)


def _lines(report: Report, *, signed: bool) -> Iterator[str]:
    yield from map(_finding, report.findings[:_SHOWN])
    if report.faults > _SHOWN:
        yield f"and {report.faults - _SHOWN:,} more; --output json has the first 1,000"
    if report.faults:
        yield ""
    yield from map(_stream, report.streams)
    yield from (f"note: {visible(note)}" for note in report.notes)
    yield ""
    yield from _verdict(report, signed=signed)


def _finding(finding: Finding) -> str:
    who = f" ({visible(finding.sidecar)}, stream {visible(finding.stream)})" if finding.stream else ""
    number = f" number {finding.seq}" if finding.seq >= 0 else ""
    text = f"{visible(finding.place)}: {finding.fault.value}:{number} {visible(finding.text)}{who}"
    return coloured(text, typer.colors.RED)


def _stream(stream: StreamReport) -> str:
    whose = f"{visible(stream.sidecar)} {visible(stream.stream)}"
    here = f"{stream.first_seq} to {stream.last_seq}" if stream.last_seq >= 0 else "no line is here"
    if not stream.chained:
        return f"{whose}: {here}, not chained"
    if not stream.checkpoints:  # they say where it begins and ends
        return f"{whose}: {here}, chained, no good checkpoint"
    good = f"{count(stream.checkpoints, 'good checkpoint')} up to number {stream.signed_seq}"
    unsigned = f", {stream.unsigned:,} after the last checkpoint" if stream.unsigned else ""
    begun = "" if stream.begun else ", its beginning is not here"
    ended = "" if stream.ended else ", its end is not here"
    return f"{whose}: {here}, chained, {good}{unsigned}{begun}{ended}"


def _verdict(report: Report, *, signed: bool) -> Iterator[str]:
    declared = sum(report.declared.values())
    told = f"{report.records:,} records, {report.events:,} events"
    missing = ", ".join(f"{why} {count:,}" for why, count in sorted(report.declared.items()))
    yield f"{report.lines:,} lines: {told}; {report.repeats:,} came twice" + (
        f"; {declared:,} records are missing and declared: {visible(missing)}" if declared else ""
    )
    if report.faults:
        without = f"{count(report.undeclared, 'record')} missing without a word"
        yield coloured(f"BROKEN: {count(report.faults, 'fault')}, {without}", typer.colors.RED)
    elif not report.lines:
        yield coloured("no line is here, so nothing is known of any", typer.colors.RED)
    elif not report.chained:
        yield "nothing is wrong with the numbers; but not every stream is chained, so bytes prove nothing"
    elif not signed:
        yield "the chains are whole; without --key nobody knows whose they are"
    else:
        unsigned = sum(stream.unsigned for stream in report.streams)
        rest = f"; for the {unsigned:,} after them no signature vouches yet" if unsigned else ""
        text = f"whole: up to the last checkpoints every line is as it was shipped{rest}"
        yield coloured(text, typer.colors.GREEN)
    yield _UNPROVEN
