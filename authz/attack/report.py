"""What came of a run: counts by class, and each case that does not hold with the way to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authz.attack.aim import Aim
from authz.attack.case import (
    Ask,
    Broken,
    Fields,
    Frames,
    Held,
    Input,
    Message,
    Raw,
    Result,
    Severity,
    Skipped,
    Wire,
)
from authz.attack.suite import CLASSES
from authz.attack.verdict import printable

_SHOWN_MAX = 1500  # characters of an input; the rest can be made again from the seed


class Row(NamedTuple):
    """One class."""

    group: str
    held: int
    broken: int
    skipped: int


class Finding(NamedTuple):
    """A case that does not hold."""

    group: str
    name: str
    wire: str
    severity: str
    what: str
    why: str
    advisory: str
    repeat: str


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Args:
        unasked: why cases were skipped, and how many for each reason.
        grounded: a plain request was seen to pass; else a target that refuses everything would hold, too.
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    unasked: Mapping[str, int]
    seed: int
    seconds: float
    grounded: bool = True

    @property
    def held(self) -> int:
        """How many attempts held."""
        return sum(row.held for row in self.rows)

    @property
    def cut_short(self) -> bool:
        """Whether the time was not enough."""
        return any("ran out" in reason for reason in self.unasked)

    @property
    def whole(self) -> bool:
        """Whether the time was enough for everything that could be tried, and there was something."""
        return self.held + len(self.findings) > 0 and not self.cut_short

    def as_json(self) -> dict[str, object]:
        """Return what a machine may read."""
        return {
            "v": 1,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "whole": self.whole,
            "grounded": self.grounded,
            "held": self.held,
            "broken": len(self.findings),
            "skipped": sum(self.unasked.values()),
            "classes": [row._asdict() for row in self.rows],
            "findings": [finding._asdict() for finding in self.findings],
            "skipped_because": dict(self.unasked),
        }


def report(results: Sequence[Result], aim: Aim, where: str, seed: int, seconds: float) -> Report:
    """Sum up.

    Args:
        where: the address of Envoy, for commands that repeat a case; "" where there is none.
    """
    rows = tuple(
        _row(group, results) for group in CLASSES if any(each.case.group == group for each in results)
    )
    findings = sorted(
        (
            _finding(result, result.outcome, aim, where)
            for result in results
            if isinstance(result.outcome, Broken)
        ),
        key=lambda finding: (
            finding.severity,
            list(CLASSES).index(finding.group),
            finding.name,
            finding.wire,
        ),
    )
    unasked: dict[str, int] = {}
    for result in results:
        if isinstance(result.outcome, Skipped):
            unasked[result.outcome.what] = unasked.get(result.outcome.what, 0) + 1
    return Report(rows, tuple(findings), unasked, seed, seconds, bool(aim.open or aim.token))


def _row(group: str, results: Sequence[Result]) -> Row:
    outcomes = [result.outcome for result in results if result.case.group == group]
    kinds = (Held, Broken, Skipped)
    return Row(group, *(sum(isinstance(outcome, kind) for outcome in outcomes) for kind in kinds))


def _finding(result: Result, broken: Broken, aim: Aim, where: str) -> Finding:
    case, wire = result.case, result.wire or Wire.HTTP1
    repeat = "; then ".join(_repeat(given, wire, aim, where) for given in case.inputs[:3])
    severity = broken.severity.value if broken.severity is Severity.HIGH else Severity.LOW.value
    return Finding(
        case.group,
        aim.hidden(case.name),
        wire.value,
        severity,
        aim.hidden(broken.what),
        case.why,
        case.advisory,
        aim.hidden(repeat),
    )


def _repeat(given: Input, wire: Wire, aim: Aim, where: str) -> str:
    """Return how to send an input again: a command where one can, else the bytes."""
    match given:
        case Ask() if where and wire in (Wire.HTTP1, Wire.HTTP2) and _typeable(given):
            return _curl(given, wire, aim, where)
        case Ask():
            host = aim.host if given.host is None else given.host
            pairs = "".join(f", {printable(name)}: {printable(value)}" for name, value in given.headers)
            return _short(f"{printable(given.method)} {printable(given.path)} host: {printable(host)}{pairs}")
        case Raw():
            return _short(f"bytes: {printable(given.data)}")
        case Fields():
            return _short(", ".join(f"{printable(name)}: {printable(value)}" for name, value in given.pairs))
        case Message():
            return _short(f"CheckRequest: {printable(given.payload)}")
        case Frames():
            return _short(f"{given.streams} stream(s) of: {printable(given.opening or given.data[:400])}")


def _typeable(ask: Ask) -> bool:
    """Whether curl sends it as it is spelled."""
    parts = (ask.method, ask.path, ask.host or b"", *(part for pair in ask.headers for part in pair))
    return (
        ask.path.startswith(b"/")
        and b"#" not in ask.path
        and all(part.isascii() and part.decode().isprintable() and b" " not in ask.path for part in parts)
        and bool(ask.method)
        and len(ask.path) < _SHOWN_MAX
    )


def _curl(ask: Ask, wire: Wire, aim: Aim, where: str) -> str:
    host = (aim.host if ask.host is None else ask.host).decode()
    words = ["curl", "-i", "--globoff", "--path-as-is"]
    words += ["--http2-prior-knowledge"] if wire is Wire.HTTP2 else []
    words += ["-X", ask.method.decode()] if ask.method != b"GET" else []
    words += ["-H", f"host: {host}"]
    for name, value in ask.headers:
        words += ["-H", f"{name.decode()}: {value.decode()}" if value else f"{name.decode()};"]
    return _short(shlex.join([*words, f"{where}{ask.path.decode()}"]))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}... ({len(text):,} characters)"
