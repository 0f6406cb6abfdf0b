"""What limits cost: buckets in memory against exact ones in Redis on the same machine.

Every call is another caller's than the one before, of a thousand, so that nothing is cheap because it is
asked twice. Both sides run at once and are asked in turn, within each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from authz.bench import buckets
from authz.bench.buckets import Callers
from authz.bench.openloop import Outcome
from authz.bench.redis_server import RedisServer
from authz.bench.sides import EXACT, MEMORY, LimitEffort, Progress, Side, Turn
from authz.model.errors import NotStarted

RATIO_AIM, PER_S_AIM = 1.4, 25_000
AIMED_AT = 2  # nested buckets


@dataclass(slots=True)
class Cost:
    """One number of nested buckets, one store: medians over the rounds."""

    name: str
    store: str
    buckets: int
    workers: int = 1
    cpu_us: float = 0.0  # per check, of the sidecar
    per_s: float = 0.0
    ratio: float = 0.0  # CPU against the same check in memory, median of the ratios within each round
    redis_us: float = 0.0  # CPU per check, of Redis
    scripts: float = 0.0  # calls of Redis per check: one for a whole batch
    commands: float = 0.0  # of Redis per check, those of the script included
    generator: float = 0.0  # what the generator took of one core
    repeated: int = 0  # turns that did not count, since something was too late in them
    cpu_rounds_us: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """Calls at a steady rate: medians over the rounds."""

    name: str
    store: str
    rate_per_s: int
    p50_ms: float
    p99_ms: float
    behind_p99_ms: float  # how late the generator itself sent; part of the others
    others: int  # answers that were not an allow, and calls without an answer


def costs(
    found: Sequence[Side],
    callers: Callers,
    redis: RedisServer | None,
    effort: LimitEffort,
    progress: Progress,
) -> list[Cost]:
    """Measure every number of buckets on every side, at full speed."""
    cases = [
        (Cost(f"{_buckets(count)}, {side.name}", side.store, count, side.server.workers), side)
        for count in buckets.NESTED
        for side in found
        if side.server.workers == 1 or count == AIMED_AT
    ]
    turns: dict[str, list[Turn]] = {cost.name: [] for cost, _ in cases}
    for number in range(effort.rounds + 1):
        progress(f"limits: round {number} of {effort.rounds}" if number else "limits: warming up")
        for cost, side in cases:
            turn = _passed(cost, side, callers, redis, effort)
            if number:
                turns[cost.name].append(turn)
    for cost, _ in cases:
        _summed(cost, turns[cost.name])
    rows = [cost for cost, _ in cases]
    _compared(rows)
    return rows


def _passed(cost: Cost, side: Side, callers: Callers, redis: RedisServer | None, effort: LimitEffort) -> Turn:
    """A figure counts only if all were allowed."""
    turn, late = side.ask_surely(callers.nested[cost.buckets], redis, cost.buckets, *effort.full_speed)
    cost.repeated += late
    if not turn.outcome.allowed == turn.outcome.sent > 0:
        raise NotStarted(f"{cost.name}: not all were allowed", str(turn.outcome))
    return turn


def _summed(cost: Cost, turns: Sequence[Turn]) -> None:
    cost.cpu_rounds_us = [turn.cpu_us for turn in turns]
    cost.cpu_us = median(cost.cpu_rounds_us)
    cost.per_s = median(turn.outcome.answered / turn.outcome.wall_s for turn in turns)
    cost.generator = median(turn.outcome.cpu_share for turn in turns)
    if cost.store == EXACT:
        cost.redis_us = median(turn.redis.cpu_s / turn.outcome.answered * 1e6 for turn in turns)
        cost.scripts = median(turn.redis.scripts / turn.outcome.answered for turn in turns)
        cost.commands = median(turn.redis.commands / turn.outcome.answered for turn in turns)


def _compared(rows: Sequence[Cost]) -> None:
    memory = {row.buckets: row.cpu_rounds_us for row in rows if row.store == MEMORY}
    for row in rows:
        if row.store == EXACT:
            pairs = zip(row.cpu_rounds_us, memory[row.buckets], strict=True)
            row.ratio = median(ours / theirs for ours, theirs in pairs)


def paces(found: Sequence[Side], callers: Callers, effort: LimitEffort, progress: Progress) -> list[Pace]:
    """Measure how long answers take at steady rates, with as many buckets as the aim speaks of."""
    rows = []
    for rate in effort.rates:
        progress(f"limits: {_buckets(AIMED_AT)} at {rate:,}/s")
        seen: dict[str, list[Outcome]] = {side.name: [] for side in found}
        for _ in range(effort.paced_rounds):
            for side in found:
                seen[side.name].append(_paced(side, callers, rate, effort.paced_seconds))
        rows += [
            Pace(
                f"{_buckets(AIMED_AT)}, {side.name}",
                side.store,
                rate,
                median(run.p50_ms for run in seen[side.name]),
                median(run.p99_ms for run in seen[side.name]),
                median(run.behind_p99_ms for run in seen[side.name]),
                sum(run.sent - run.allowed for run in seen[side.name]),
            )
            for side in found
        ]
    return rows


def _paced(side: Side, callers: Callers, rate: int, seconds: float) -> Outcome:
    how = ("--rate", str(rate), "--seconds", str(seconds))
    return side.ask(callers.nested[AIMED_AT], None, *how).outcome


def _buckets(count: int) -> str:
    return f"{count} bucket{'s' * (count > 1)}"
