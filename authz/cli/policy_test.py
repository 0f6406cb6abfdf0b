"""`authz policy test`: run the PolicyTests of a set and say which fail, and how."""

from __future__ import annotations

import json
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from authz.config.settings import load
from authz.model.errors import SnapshotRejected
from authz.rehearsal import report
from authz.rehearsal.run import Result, Stage
from authz.snapshot.build import Builder, Built
from authz.snapshot.sources import read
from authz.wiring.loader import surroundings


class Output(StrEnum):
    """Who reads the report."""

    TEXT = "text"
    JSON = "json"


def command(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Directories of policy files.")],
    output: Annotated[
        Output, typer.Option("--output", help="Text for people, JSON for machines.")
    ] = Output.TEXT,
    wanted: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Run only cases whose `test/case` holds this.")
    ] = "",
) -> None:
    """Run the PolicyTests of a set; exit 1 and say why if one fails or the set is invalid."""
    try:
        results = _results(_built(directories), wanted)
    except SnapshotRejected as rejected:
        for fault in rejected.faults:
            typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None
    if output is Output.JSON:
        typer.echo(json.dumps(report.as_json(results), ensure_ascii=False))
    else:
        for line in report.lines(results, [str(directory) for directory in directories]):
            typer.echo(line)
        typer.echo(report.summary(results))
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


def _built(directories: list[Path]) -> Built:
    around = surroundings(load({}, os.environb), "policy test")
    return Builder(around).build(read(directories), 0)


def _results(built: Built, wanted: str) -> list[Result]:
    results = Stage(built, _ticks_us).run(built.loaded.tests)
    return [result for result in results if wanted.lower() in report.title(result).lower()]


def _ticks_us() -> int:
    return time.monotonic_ns() // 1000
