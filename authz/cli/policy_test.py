"""`authz policy test`: run the PolicyTests of a set and say which fail, and how."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated, NamedTuple

import typer

from authz.cli.colour import coloured
from authz.cli.options import Overrides, Scopes, SetDirectories, SettingsFile
from authz.config.settings import Settings, load
from authz.model.errors import ConfigError, PolicyError
from authz.rehearsal.testing import report
from authz.rehearsal.testing.junit import junit
from authz.rehearsal.testing.run import Result, Stage
from authz.snapshot.assembly import Assembly
from authz.snapshot.build import Builder
from authz.snapshot.sources import Directories, Sources
from authz.snapshot.watch import Watch
from authz.wiring.surroundings import surroundings

_ENDS = (signal.SIGINT, signal.SIGTERM)


class Output(StrEnum):
    """Who reads the report."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


class Run(NamedTuple):
    """What came of one run.

    Args:
        faults: why the set is invalid; then nothing was run.
    """

    results: Sequence[Result] = ()
    faults: Sequence[PolicyError] = ()

    @property
    def passed(self) -> bool:
        """Whether the set is valid and every case came out as expected."""
        return not self.faults and all(result.passed for result in self.results)


class Asked(NamedTuple):
    """What was asked for on the command line, and how to report it."""

    named: Directories
    wanted: str
    output: Output
    file: Path | None
    require_tests: bool

    @property
    def words(self) -> list[str]:
        """The directories as arguments of another command."""
        words = [str(directory) for directory in self.named.policies]
        for option, directories in (("--scopes", self.named.scopes), ("--overrides", self.named.overrides)):
            for directory in directories:
                words += [option, str(directory)]
        return words


def command(
    directories: SetDirectories,
    scopes: Scopes = None,
    overrides: Overrides = None,
    wanted: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Run only cases whose `test/case` holds this.")
    ] = "",
    output: Annotated[
        Output, typer.Option("--output", help="Text for people, JSON for machines, JUnit XML for CI.")
    ] = Output.TEXT,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="OUT", help="Write the report there, and text to standard output."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again whenever a file changes, until Ctrl-C.")
    ] = False,
    require_tests: Annotated[
        bool, typer.Option("--require-tests", help="Exit 1 if no case was run.")
    ] = False,
    config: SettingsFile = None,
) -> None:
    """Run the PolicyTests of a set, and say which fail and how.

    Settings that change how requests are read come from authz.toml and the environment, as for `serve`;
    which hosts are served and how many proxies are trusted say nothing to tests. With --overrides they run
    with the brake pulled.

    Exit codes: 0 all passed; 1 one failed, or the set is invalid; 2 usage; 3 a file cannot be used.
    """
    named = Directories(directories, scopes or (), overrides or ())
    asked = Asked(named, wanted, output, file, require_tests)
    tester = Tester(asked, load({}, os.environb, config))
    raise typer.Exit(tester.watch() if watch else tester.run())


class Tester:
    """Runs and reports, once or on and on; what has not changed is not compiled again."""

    def __init__(self, asked: Asked, settings: Settings) -> None:
        self._asked = asked
        self._builder = Builder(surroundings(settings, "policy test"))
        self._sources = Sources(asked.named)
        self._poll_s = float(settings.snapshot.poll_s)
        self._quiet_ms = settings.snapshot.quiet_ms

    def run(self) -> int:
        """Run once; return the exit code."""
        run = self._run()
        _report(run, self._asked)
        if run.faults or run.results:
            return 0 if run.passed else 1
        return 1 if self._asked.require_tests else 0

    def watch(self) -> int:
        """Run whenever something changed, until interrupted; return the last exit code."""
        ended = Event()
        # The library that watches swallows a KeyboardInterrupt, so there must be none.
        before = {number: signal.signal(number, lambda *_: ended.set()) for number in _ENDS}
        watching = Watch(self._quiet_ms, ended)
        try:
            return self._watch(watching, ended)
        finally:
            watching.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, watching: Watch, ended: Event) -> int:
        while True:
            code = self.run()
            typer.echo("waiting for changes; Ctrl-C ends", err=True)
            watching.arm(self._sources.watched())
            # Looked at even where nobody tells of anything: some systems never do. And what is told need not
            # be about a document: the report itself may be written beside them.
            while not ended.is_set() and not self._sources.moved():
                watching.wait(self._poll_s)
            if ended.is_set():
                return code

    def _run(self) -> Run:
        # A new one each time: what was good before is no part of what stands there now.
        outcome = Assembly(self._builder).offer(self._sources.read(), 0)
        faults = [fault for part in outcome.rejected.values() for fault in part]
        if faults or outcome.built is None:
            return Run(faults=sorted(faults, key=lambda fault: (fault.place, fault.what)))
        results = Stage(outcome.built, _ticks_us).run(outcome.built.loaded.tests, self._wants)
        return Run(list(results))

    def _wants(self, test: str, case: str) -> bool:
        return self._asked.wanted.lower() in f"{test}/{case}".lower()


def _report(run: Run, asked: Asked) -> None:
    written = _written(run, asked)
    if asked.file is not None:
        _write(asked.file, written)
    elif asked.output is not Output.TEXT:
        typer.echo(written, nl=False)
    if asked.file is not None or asked.output is Output.TEXT:
        _tell(run, asked)
    if not run.faults and not run.results:
        what = (
            f"no case holds `{asked.wanted}`" if asked.wanted else "no tests in this set: nothing is proven"
        )
        typer.echo(f"{coloured('warning:', 'yellow')} {what}", err=True)


def _written(run: Run, asked: Asked) -> str:
    match asked.output:
        case Output.JSON:
            return json.dumps(report.as_json(run.results, run.faults)) + "\n"
        case Output.JUNIT:
            return junit(run.results, run.faults, asked.words)
        case Output.TEXT:
            return "".join(f"{line}\n" for line in _text(run, asked, "FAILED"))


def _text(run: Run, asked: Asked, failed: str) -> list[str]:
    if run.faults:
        return [str(fault) for fault in run.faults]
    return [*report.lines(run.results, asked.words, failed), report.summary(run.results)]


def _tell(run: Run, asked: Asked) -> None:
    for line in _text(run, asked, coloured("FAILED", "red")):
        typer.echo(line, err=bool(run.faults))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--file {file}: {error.strerror}: name a file that can be written") from None


def _ticks_us() -> int:
    return time.monotonic_ns() // 1000
