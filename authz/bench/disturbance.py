"""What callers feel while Redis is disturbed: paused, killed, or replaced by its replica.

Calls come at a steady rate all the while. Who decided each of them is read from the records afterwards, so
that nobody asks the sidecar anything meanwhile that a caller would feel.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from authz.bench import openloop, redis_server, sides
from authz.bench.buckets import Callers
from authz.bench.connection import BROKEN
from authz.bench.openloop import Sample
from authz.bench.redis_server import RedisServer, until
from authz.bench.sides import LimitEffort, Progress
from authz.bench.subjects import Server
from authz.model.errors import NotStarted

TIMEOUT_MS = 20
"""How long a call of Redis may take: the setting's default."""
P99_AIM_MS = TIMEOUT_MS + 5
RECOVERY_AIM_S = 3.0

_BUCKETS = 2

_Way = Callable[[Path, LimitEffort, ExitStack], "tuple[str, Callable[[], Span]]"]
"""Starts a Redis; returns its URL, and what disturbs it and says from when to when."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One way to disturb Redis, under a steady load.

    All figures but `later` are about calls that waited when it began, or were due from then until Redis
    decided again.
    """

    name: str
    rate_per_s: int
    lasted_s: float  # until Redis could have been reached again
    calls: int
    p99_ms: float
    slowest_ms: float
    alone: int  # decided without Redis
    refused: int
    errors: int  # calls without an answer
    recovery_s: float  # from its end to the first decision of Redis; -1: it did not decide again
    later: int  # decided without Redis after that: on a busy machine it may be later than its timeout


class Span(NamedTuple):
    """From when to when Redis was not there, by the monotonic clock."""

    began_s: float
    ended_s: float


class Decided(NamedTuple):
    """One decision."""

    when_s: float  # by the monotonic clock
    alone: bool  # no Redis had a part in it


def disturbances(
    directory: Path, callers: Callers, effort: LimitEffort, progress: Progress
) -> list[Disturbance]:
    """Measure each way by itself, with a Redis and a sidecar of its own."""
    ways = {
        f"paused for {effort.paused_s:g} s": _away(RedisServer.pause, RedisServer.resume),
        f"killed, back after {effort.paused_s:g} s": _away(RedisServer.kill, RedisServer.restart),
        "killed, its replica promoted": _promoted,
    }
    found = []
    for number, (name, way) in enumerate(ways.items()):
        progress(f"limits: Redis {name}")
        place = directory / f"disturbed-{number}"
        place.mkdir()
        with ExitStack() as stack:
            url, disturb = way(place, effort, stack)
            server = sides.sidecar(place / "sidecar", callers, stack, {"REDIS_URL": url})
            found.append(_measured(name, place, server, callers, effort, disturb))
    return found


def _away(leave: Callable[[RedisServer], None], come_back: Callable[[RedisServer], None]) -> _Way:
    """Return how Redis is gone for a while."""

    def way(place: Path, effort: LimitEffort, stack: ExitStack) -> tuple[str, Callable[[], Span]]:
        redis = RedisServer(place, stack)

        def disturb() -> Span:
            began_s = time.monotonic()
            leave(redis)
            time.sleep(effort.paused_s)
            come_back(redis)
            return Span(began_s, time.monotonic())

        return redis.url, disturb

    return way


def _promoted(place: Path, _: LimitEffort, stack: ExitStack) -> tuple[str, Callable[[], Span]]:
    guarded = redis_server.start_guarded(place, stack)

    def disturb() -> Span:
        began_s = time.monotonic()
        guarded.master.kill()
        return Span(began_s, until(guarded.replica.is_master, "the Sentinel promoted nobody"))

    return guarded.url, disturb


def _measured(
    name: str, place: Path, server: Server, callers: Callers, effort: LimitEffort, disturb: Callable[[], Span]
) -> Disturbance:
    trace, seconds = place / "trace.json", effort.before_s + effort.paused_s + effort.after_s
    how = ("--rate", str(effort.fault_per_s), "--seconds", str(seconds), "--trace", str(trace))
    command = openloop.command([server.socket], [callers.nested[_BUCKETS]], *how, "--connections", "2")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as generator:  # noqa: S603 - our own words
        try:
            time.sleep(effort.before_s)
            offset_s = time.time() - time.monotonic()
            span = disturb()
            code = generator.wait(timeout=60)
        finally:
            generator.kill()
    if code:
        raise NotStarted(f"Redis {name}: the generator ended with {code}")
    samples = openloop.traced(trace)
    until(lambda: server.records_waiting() == 0, "records are not written")
    return summed(name, effort.fault_per_s, samples, _decisions(server, offset_s), span)


def summed(
    name: str, rate: int, samples: Sequence[Sample], decisions: Sequence[Decided], span: Span
) -> Disturbance:
    """Say what a disturbance did."""
    again = [when for when, alone in decisions if not alone and when >= span.ended_s]
    over_s = min(again, default=math.inf)
    felt = [
        sample
        for sample in samples
        if sample.due_s + sample.took_s >= span.began_s and sample.due_s <= over_s
    ]
    took = sorted(sample.took_s * 1000 for sample in felt if sample.code != BROKEN)
    alone = [when for when, alone in decisions if alone and when >= span.began_s]
    meanwhile = sum(when <= over_s for when in alone)
    return Disturbance(
        name,
        rate,
        span.ended_s - span.began_s,
        len(felt),
        openloop.share(took, 0.99),
        openloop.share(took, 1.0),
        meanwhile,
        sum(sample.code not in (0, BROKEN) for sample in felt),
        sum(sample.code == BROKEN for sample in felt),
        over_s - span.ended_s if again else -1.0,
        len(alone) - meanwhile,
    )


def _decisions(server: Server, offset_s: float) -> list[Decided]:
    """Read who decided each check, and when: `offset_s` is what the wall clock is ahead of the monotonic."""
    records = server.records.read_bytes().splitlines() if server.records else []
    spent = [record for record in map(json.loads, records) if record.get("limits")]
    return [Decided(_when(record) - offset_s, _was_alone(record)) for record in spent]


def _was_alone(record: dict[str, list[dict[str, str]]]) -> bool:
    return any(limit["store"] == "outage" for limit in record["limits"])


def _when(record: dict[str, str]) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()
