"""What limits cost, whole: in memory, in Redis on the same machine, over a fleet, and while Redis is gone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from authz.bench import buckets, disturbance, fleet, nested, redis_server, sides
from authz.bench.disturbance import Disturbance
from authz.bench.fleet import Fleet, Hot
from authz.bench.nested import Cost, Pace
from authz.bench.redis_server import RedisServer
from authz.bench.sides import LimitEffort, Progress

WITHOUT_REDIS = (
    "exact limits",
    "Redis operations and CPU per check",
    "a fleet on one Redis",
    "the hot bucket in Redis",
    "Redis paused, killed, promoted",
)
"""What is left out where there is no `redis-server`."""


@dataclass(slots=True)
class LimitReport:
    """Everything about limits that was measured."""

    effort: LimitEffort
    redis: str = ""  # version of the server; "": there is none here
    costs: list[Cost] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    hot: list[Hot] = field(default_factory=list)
    fleet: Fleet | None = None
    disturbed: list[Disturbance] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def cost(self, count: int, store: str) -> list[Cost]:
        """Return the rows of so many buckets in a store."""
        return [row for row in self.costs if row.buckets == count and row.store == store]


def run(directory: Path, effort: LimitEffort, progress: Progress) -> LimitReport:
    """Measure.

    Raises:
        NotStarted: something does not come up, or answers otherwise than expected.
    """
    report = LimitReport(effort, redis_server.version())
    place = directory / "limits"
    callers = buckets.write(place)
    with ExitStack() as stack:
        redis = RedisServer(place, stack) if report.redis else None
        with ExitStack() as started:
            found = sides.sides(place, callers, redis, started)
            report.costs = nested.costs(found, callers, redis, effort, progress)
            report.paces = nested.paces(found, callers, effort, progress)
            report.hot = fleet.hot(found, callers, redis, effort, progress)
        if redis is None:
            report.missing = [*WITHOUT_REDIS]
            return report
        report.fleet = fleet.fleet(place, callers, redis, effort, progress)
    report.disturbed = disturbance.disturbances(place, callers, effort, progress)
    return report
