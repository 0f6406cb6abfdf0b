"""The bench: start everything, measure in interleaved rounds, take medians.

All servers run from the start, so each round asks each of them under the same conditions; a machine that
gets slower for a minute slows a whole round, and the median does not see it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import median

from authz.bench import limits, load, records, reload, subjects, through_envoy, usage
from authz.bench.documents import HOSTS, PolicySet
from authz.bench.limits import LimitReport
from authz.bench.records import RecordReport
from authz.bench.records_sides import RecordEffort
from authz.bench.reload import Kept, Reloads, Toil
from authz.bench.sides import LimitEffort
from authz.bench.subjects import DROPPED, EMPTY, EMPTY_GRPCIO, Case, Server
from authz.model.errors import NotStarted
from authz.proxy.process import Child

KEYS = 10_000
SIZES = (1000, 10, 10_000)  # the first is the one that everything else is measured on
ONE_HOST = 1000  # policies of one rule each, all of one host
START_POLICIES, START_KEYS = 1000, 1000

Progress = Callable[[str], None]


class Part(StrEnum):
    """What may be measured by itself."""

    START = "start"
    CHECKS = "checks"
    RELOADS = "reloads"
    ENVOY = "envoy"
    LIMITS = "limits"
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int = 5
    calls: int = 30_000
    warm_calls: int = 3000
    paced_per_s: int = 2000
    seconds: int = 3
    toil: Toil = field(default_factory=Toil)
    limits: LimitEffort = field(default_factory=LimitEffort)
    records: RecordEffort = field(default_factory=RecordEffort)


@dataclass(slots=True)
class Row:
    """One case: medians over the rounds."""

    name: str
    cpu_us: float = 0.0  # per check, user and system, of the server alone
    per_s: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    memory_mib: float = 0.0
    ratio: float = 0.0  # CPU against the empty server, median of the ratios within each round
    records_dropped: int = 0  # of all its rounds: the queue was full while the disk paused
    cpu_rounds_us: list[float] = field(default_factory=list)
    speed_rounds: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Everything that was measured."""

    machine: str
    effort: Effort
    rows: list[Row] = field(default_factory=list)
    proxied: list[Row] = field(default_factory=list)
    ready_s: float = 0.0
    size_ratio: float = 0.0  # CPU with 10,000 policies against 10
    reloads: list[Reloads] = field(default_factory=list)
    kept: Kept | None = None
    limits: LimitReport | None = None
    records: RecordReport | None = None
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return it as plain data."""
        return asdict(self)


def run(
    directory: Path, effort: Effort, progress: Progress, parts: frozenset[Part] = frozenset(Part)
) -> Report:
    """Measure.

    Args:
        parts: what of it.

    Raises:
        NotStarted: something does not come up, or answers otherwise than expected.
    """
    report = Report(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}", effort
    )
    report.missing = load.missing()
    if Part.START in parts:
        report.ready_s = _ready_s(directory, progress)
    if "h2load" not in report.missing:
        _called(directory, effort, report, progress, parts)
    if "wrk" not in report.missing and Part.ENVOY in parts:
        _proxied(directory, effort, report, progress)
    if Part.LIMITS in parts:
        report.limits = limits.run(directory, effort.limits, progress)
    if Part.RECORDS in parts:
        report.records = records.run(directory, effort.records, progress)
    return report


def _called(
    directory: Path, effort: Effort, report: Report, progress: Progress, parts: frozenset[Part]
) -> None:
    if Part.CHECKS in parts:
        with ExitStack() as stack:  # whatever still runs would be felt by what follows
            _checks(directory, effort, stack, report, progress)
    if Part.RELOADS in parts:
        report.reloads = reload.sizes(directory, effort.toil, effort.paced_per_s, progress)
        report.kept = reload.kept(directory, effort.toil, progress)


def _ready_s(directory: Path, progress: Progress) -> float:
    """Start a sidecar three times and take the median."""
    progress(f"start-up with {START_POLICIES} policies and {START_KEYS} keys")
    written = subjects.policy_set(directory / "start", START_POLICIES, START_KEYS)
    took = []
    for number in range(3):
        scratch = directory / f"start-{number}"
        scratch.mkdir()
        with ExitStack() as stack:
            took.append(subjects.start_sidecar(scratch, written, stack).ready_s)
    return median(took)


def _checks(directory: Path, effort: Effort, stack: ExitStack, report: Report, progress: Progress) -> None:
    scratch = directory / "frames"
    scratch.mkdir()
    empty = subjects.start_empty(directory, stack)
    cases: list[Case] = []
    for size in SIZES:
        progress(f"starting the sidecar with {size} policies and {KEYS} keys")
        written, server = _sidecar(directory, size, stack)
        name = f"whole check, {size} policies"
        case = subjects.allowed(name, server, written, scratch, effort.rounds)
        if not cases:
            cases.append(Case(EMPTY, empty, case.frames))
            cases.append(case)
            evaluated = "the same, condition on the request"
            cases.append(
                subjects.allowed(evaluated, server, written, scratch, effort.rounds, of_request=True)
            )
            cases += subjects.refusals(server, written, scratch)
        else:
            cases.append(case)
    progress(f"starting the sidecar with {ONE_HOST} policies of one host")
    written, server = _sidecar(directory, ONE_HOST, stack, hosts=1)
    cases.append(subjects.allowed(f"one host with {ONE_HOST} rules", server, written, scratch, effort.rounds))
    grpcio = subjects.start_empty(directory, stack, "grpcio")
    cases.append(Case(EMPTY_GRPCIO, grpcio, cases[0].frames))
    report.rows = _measure(cases, effort, progress)
    _compare(report)
    for row, case in zip(report.rows[:2], cases[:2], strict=True):
        progress(f"{row.name} at {effort.paced_per_s}/s")
        paced = load.paced(case.server.socket, case.frames[0], effort.paced_per_s, effort.seconds, scratch)
        row.p50_us, row.p99_us = paced.p50_us, paced.p99_us


def _sidecar(directory: Path, size: int, stack: ExitStack, hosts: int = HOSTS) -> tuple[PolicySet, Server]:
    written = subjects.policy_set(directory / f"policies-{size}-{hosts}", size, KEYS, hosts)
    place = directory / f"sidecar-{size}-{hosts}"
    place.mkdir()
    return written, subjects.start_sidecar(place, written, stack)


def _measure(cases: Sequence[Case], effort: Effort, progress: Progress) -> list[Row]:
    rows = [Row(case.name) for case in cases]
    for case in cases:
        for frame in case.frames:
            load.calls(case.server.socket, frame, max(64, effort.warm_calls // len(case.frames)))
    for number in range(effort.rounds):
        progress(f"round {number + 1} of {effort.rounds}")
        for case, row in zip(cases, rows, strict=True):
            _ask(case, row, number, effort.calls)
    for case, row in zip(cases, rows, strict=True):
        row.cpu_us, row.per_s = median(row.cpu_rounds_us), median(row.speed_rounds)
        row.memory_mib = usage.resident_mib(case.server.child.pid)
    return rows


def _ask(case: Case, row: Row, number: int, count: int) -> None:
    server = case.server
    if server.records is not None and server.records.exists():
        os.truncate(server.records, 0)
    counted = server.counts()
    before_s = usage.cpu_s(server.child.pid)
    run_ = load.calls(server.socket, case.frames[number % len(case.frames)], count)
    spent_s = usage.cpu_s(server.child.pid) - before_s
    row.cpu_rounds_us.append(spent_s / count * 1e6)
    row.speed_rounds.append(run_.calls / run_.wall_s)
    if case.reason:
        after = server.counts()
        _require(case, after, counted, count)
        row.records_dropped += int(after.get(DROPPED, 0) - counted.get(DROPPED, 0))


def _require(case: Case, after: dict[str, float], before: dict[str, float], count: int) -> None:
    """A figure counts only if every single answer was the expected one."""
    found = after.get(case.reason, 0) - before.get(case.reason, 0)
    if found != count:
        raise NotStarted(f"{case.name}: {found:.0f} of {count} checks ended as `{case.reason}`")


def _compare(report: Report) -> None:
    floor = report.rows[0].cpu_rounds_us
    for row in report.rows:
        row.ratio = median(ours / theirs for ours, theirs in zip(row.cpu_rounds_us, floor, strict=True))
    by_name = {row.name: row.cpu_rounds_us for row in report.rows}
    large, small = (by_name[f"whole check, {size} policies"] for size in (max(SIZES), min(SIZES)))
    report.size_ratio = median(many / few for many, few in zip(large, small, strict=True))


def _proxied(directory: Path, effort: Effort, report: Report, progress: Progress) -> None:
    """Nothing else runs meanwhile: on two cores every idle neighbour would still be felt."""
    with ExitStack() as stack:
        progress("requests through Envoy")
        place = directory / "proxied"
        place.mkdir()
        written = subjects.policy_set(place / "policies", SIZES[0], KEYS)
        server = subjects.start_sidecar(place, written, stack)
        host, path = written.target(7)
        headers = {"Host": host, "x-api-key": written.tokens[7]}
        sides = {
            "Envoy without authorization": through_envoy.start(place, server, stack, authorized=False),
            "Envoy with authz, whole check": through_envoy.start(place, server, stack, authorized=True),
        }
        rows = {name: Row(name) for name in sides}
        halves: dict[str, list[load.Run]] = {name: [] for name in sides}
        for number in range(effort.rounds + 1):
            for name, (envoy, port) in sides.items():
                url = f"http://127.0.0.1:{port}{path}"
                run_, cpu_us = _request(envoy, server, url, headers, effort, counted=number > 0)
                if number:  # the first round warms: a machine that starts ten processes may refuse a few
                    halves[name].append(run_)
                    rows[name].cpu_rounds_us.append(cpu_us)
        for name, row in rows.items():
            row.per_s = median(run_.calls / run_.wall_s for run_ in halves[name])
            row.p50_us = median(run_.p50_us for run_ in halves[name])
            row.p99_us = median(run_.p99_us for run_ in halves[name])
            row.cpu_us = median(row.cpu_rounds_us)
        report.proxied = list(rows.values())


def _request(
    envoy: Child, server: Server, url: str, headers: dict[str, str], effort: Effort, *, counted: bool
) -> tuple[load.Run, float]:
    """Return a run, and the CPU per request of Envoy and sidecar together."""
    pids = (envoy.pid, server.child.pid)
    before_s = sum(map(usage.cpu_s, pids))
    found = load.requests(url, headers, effort.seconds)
    if found.refused and counted:
        raise NotStarted(f"{found.refused} of {found.calls} requests through Envoy were refused")
    return found, (sum(map(usage.cpu_s, pids)) - before_s) / found.calls * 1e6
