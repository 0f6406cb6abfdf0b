"""After a sink was away: how fast what waited is delivered, and what callers feel meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from authz.bench import openloop, records_receiver
from authz.bench.documents import PolicySet
from authz.bench.openloop import Sample
from authz.bench.records_receiver import Arrival
from authz.bench.records_sides import Progress, RecordEffort, receive, sidecar
from authz.bench.redis_server import free_port
from authz.bench.subjects import DROPPED, Server
from authz.model.errors import NotStarted

_STEPS_MAX = 60
_BEHIND_S = 1.0  # records that came within so much are no backlog: a batch waits for company


@dataclass(frozen=True, slots=True)
class Replay:
    """A backlog that is delivered while checks go on. The sink is HTTP."""

    backlog: int  # records that waited when the sink came back
    back_s: float  # until the first of them was taken: tries come at longer and longer intervals
    replay_s: float
    per_s: float  # records delivered a second, new ones included
    rate_per_s: int  # of the checks
    quiet_p99_ms: float  # before, with the sink well
    away_p99_ms: float  # while it was away
    replay_p99_ms: float  # while the backlog was delivered


def replay(
    directory: Path, policies: PolicySet, calls: Path, effort: RecordEffort, progress: Progress
) -> Replay:
    """Measure it.

    Raises:
        NotStarted: something does not come up, or the backlog is never delivered.
    """
    progress("records: a sink is away, and comes back")
    place = directory / "outage"
    place.mkdir()
    port, log = free_port(), place / "arrivals"
    with ExitStack() as stack:
        with ExitStack() as first:
            receive(place, "http", port, first)
            server = sidecar(place, policies, stack, f"http://127.0.0.1:{port}/records")
            run = _Run([server.socket], calls, place / "trace.json", effort)
            quiet = run.paced()
        closed = openloop.ask(
            run.sockets, [calls], "--connections", "2", "--closed", str(effort.open),
            "--seconds", str(effort.away_s),
        )  # fmt: skip
        away = run.paced()
        backlog = closed.answered + len(away)
        receive(place, "http", port, stack, "--log", str(log))
        back_s = time.monotonic()
        samples = _until_delivered(run, server, log, backlog, effort.later_s)
        return summed(backlog, samples, records_receiver.arrivals(log), back_s, effort.per_s, quiet, away)


class _Run:
    """Load at a steady rate, a step at a time."""

    def __init__(self, sockets: Sequence[Path], calls: Path, trace: Path, effort: RecordEffort) -> None:
        self.sockets, self._calls, self._trace, self._effort = sockets, calls, trace, effort

    def paced(self) -> list[Sample]:
        openloop.ask(
            self.sockets, [self._calls], "--connections", "2", *self._effort.paced,
            "--trace", str(self._trace),
        )  # fmt: skip
        return openloop.traced(self._trace)


def _until_delivered(run: _Run, server: Server, log: Path, backlog: int, later_s: float) -> list[Sample]:
    samples: list[Sample] = []
    end_s = time.monotonic() + later_s
    while not log.exists() or not log.stat().st_size:
        if time.monotonic() > end_s:
            raise NotStarted("a sink that is back is not asked again")
        time.sleep(0.02)
    came = 0
    for _ in range(_STEPS_MAX):
        samples += run.paced()
        came = sum(one.records for one in records_receiver.arrivals(log))
        dropped = int(server.counts().get(DROPPED, 0))  # a busy machine's queue may have been full
        if came + dropped >= backlog + len(samples) - 1:
            return samples
    raise NotStarted(f"of {backlog + len(samples)} records {came} arrived after a sink was away")


def summed(
    backlog: int,
    samples: Sequence[Sample],
    came: Sequence[Arrival],
    back_s: float,
    rate: int,
    quiet: Sequence[Sample],
    away: Sequence[Sample],
) -> Replay:
    """Say how it went."""
    first_s, delivered, over_s = came[0].when_s, 0, came[-1].when_s
    for when_s, records in came:
        delivered += records
        put = backlog + sum(sample.due_s < when_s - _BEHIND_S for sample in samples)
        if delivered >= put:
            over_s = when_s
            break
    felt = [sample for sample in samples if sample.due_s <= over_s]
    took_s = max(1e-3, over_s - first_s)
    return Replay(
        backlog,
        first_s - back_s,
        took_s,
        delivered / took_s,
        rate,
        _p99_ms(quiet),
        _p99_ms(away),
        _p99_ms(felt or samples),
    )


def _p99_ms(samples: Sequence[Sample]) -> float:
    return openloop.share(sorted(sample.took_s for sample in samples), 0.99) * 1000
