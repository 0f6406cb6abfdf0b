"""What records cost: to each sink, through a spool that is fed directly, and after a sink was away."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from authz.bench import buckets, records_feed, records_outage, usage
from authz.bench.records_feed import Fed
from authz.bench.records_outage import Replay
from authz.bench.records_sides import Progress, RecordEffort, Side, Turn, sides

P99_AIM, FED_PER_S_AIM = 1.1, 100_000


@dataclass(slots=True)
class RecordRow:
    """One place where records go: medians over the rounds."""

    name: str
    judge_us: float = 0.0  # CPU per check, of the process that judges
    shipper_us: float = 0.0  # of the process that ships
    ratio: float = 0.0  # of `judge_us` against records off, median of the ratios within each round
    per_s: float = 0.0  # checks at full speed, on cores that the generator and the sink share
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p99_ratio: float = 0.0  # against records off, median of the ratios within each round
    behind_p99_ms: float = 0.0  # how late the generator was; part of `p99_ms`
    dropped: int = 0  # records, of all rounds
    sidecar_mib: float = 0.0
    shipper_mib: float = 0.0
    kept_mib_per_million: float = 0.0  # where they are kept; 0: nobody can tell
    judge_rounds_us: list[float] = field(default_factory=list)
    p99_rounds_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class RecordReport:
    """Everything about records that was measured."""

    effort: RecordEffort
    rows: list[RecordRow] = field(default_factory=list)
    fed: list[Fed] = field(default_factory=list)
    replay: Replay | None = None
    missing: list[str] = field(default_factory=list)


def run(directory: Path, effort: RecordEffort, progress: Progress) -> RecordReport:
    """Measure.

    Raises:
        NotStarted: something does not come up, or answers otherwise than expected.
    """
    report = RecordReport(effort)
    place = directory / "records"
    callers = buckets.write(place)
    calls = callers.nested[1]
    with ExitStack() as stack:
        found, report.missing = sides(place, callers.policies, effort, stack, progress)
        report.rows = _costs(found, calls, effort, progress)
    report.fed = records_feed.feeds(place, effort.fed, progress)
    report.replay = records_outage.replay(place, callers.policies, calls, effort, progress)
    return report


def _costs(found: Sequence[Side], calls: Path, effort: RecordEffort, progress: Progress) -> list[RecordRow]:
    fast: dict[str, list[Turn]] = {side.name: [] for side in found}
    paced: dict[str, list[Turn]] = {side.name: [] for side in found}
    for number in range(effort.rounds + 1):
        progress(f"records: round {number} of {effort.rounds}" if number else "records: warming up")
        for side in found:
            turn = side.ask(calls, *effort.full_speed)
            if number:
                fast[side.name].append(turn)
        for side in found if number else ():
            paced[side.name].append(side.ask(calls, *effort.paced))
    rows = [_summed(side, fast[side.name], paced[side.name]) for side in found]
    off = rows[0]
    for row, side in zip(rows, found, strict=True):
        row.ratio = _ratio(row.judge_rounds_us, off.judge_rounds_us)
        row.p99_ratio = _ratio(row.p99_rounds_ms, off.p99_rounds_ms)
        if side.kept_bytes is not None:
            row.kept_mib_per_million = side.kept_bytes() / max(1, side.records()) * 1e6 / (1 << 20)
    return rows


def _summed(side: Side, fast: Sequence[Turn], paced: Sequence[Turn]) -> RecordRow:
    pid = side.server.child.pid
    return RecordRow(
        side.name,
        judge_us=median(turn.judge_us for turn in fast),
        shipper_us=median(turn.shipper_us for turn in fast),
        per_s=median(turn.outcome.answered / turn.outcome.wall_s for turn in fast),
        p50_ms=median(turn.outcome.p50_ms for turn in paced),
        p99_ms=median(turn.outcome.p99_ms for turn in paced),
        behind_p99_ms=median(turn.outcome.behind_p99_ms for turn in paced),
        dropped=sum(turn.dropped for turn in (*fast, *paced)),
        sidecar_mib=usage.resident_mib(pid),
        shipper_mib=sum(map(usage.resident_mib, usage.children(pid))),
        judge_rounds_us=[turn.judge_us for turn in fast],
        p99_rounds_ms=[turn.outcome.p99_ms for turn in paced],
    )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(one / max(1e-9, other) for one, other in zip(ours, theirs, strict=True))
