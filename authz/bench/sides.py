"""The sides of the bench of limits: sidecars with their stores, asked in turn and counted around."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from authz.bench import openloop, subjects, usage
from authz.bench.buckets import Callers
from authz.bench.openloop import Outcome
from authz.bench.redis_server import RedisServer, Used
from authz.bench.subjects import Server
from authz.model.errors import NotStarted
from authz.proxy.process import tail

MEMORY, EXACT = "memory", "exact"

STORES = {MEMORY: "memory", EXACT: "redis"}
"""How metrics call what keeps the buckets."""

_CONNECTIONS = 2  # as Envoy has one for each of its threads
_SETTLE_S = 5.0  # that counts may take to arrive: workers tell their supervisor now and then

_TRIES = 5
_TOLD_S = 0.2  # that a worker may take to tell its supervisor

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LimitEffort:
    """How long to measure limits."""

    rounds: int = 5
    seconds: float = 1.0  # of each case in each round
    open: int = 64  # calls at a time, at full speed
    rates: tuple[int, ...] = (1000, 10_000)
    paced_rounds: int = 3
    paced_seconds: float = 1.5
    sidecars: int = 20
    fleet_seconds: float = 5.0
    fault_per_s: int = 1000
    before_s: float = 1.0  # until Redis is disturbed
    paused_s: float = 1.0
    after_s: float = 5.0

    @property
    def full_speed(self) -> tuple[str, ...]:
        """What the generator is told for a turn at full speed."""
        return ("--closed", str(self.open), "--seconds", str(self.seconds))


@dataclass(frozen=True, slots=True)
class Turn:
    """One case once: what the generator saw, and what it cost."""

    outcome: Outcome
    cpu_us: float  # per answer, of the sidecar
    redis: Used


@dataclass(frozen=True, slots=True)
class Side:
    """A sidecar with its store."""

    name: str
    store: str
    server: Server

    def ask(self, calls: Path, redis: RedisServer | None, *how: str) -> Turn:
        """Run the generator once, and count around it."""
        redis = redis if self.store == EXACT else None
        before = redis.used() if redis else Used(0, 0, 0.0)
        before_s = usage.tree_cpu_s(self.server.child.pid)
        connections = str(max(_CONNECTIONS, self.server.workers))
        found = openloop.ask(self.server.sockets, [calls], "--connections", connections, *how)
        spent_s = usage.tree_cpu_s(self.server.child.pid) - before_s
        after = redis.used() if redis else before
        return Turn(found, spent_s / max(1, found.answered) * 1e6, after.since(before))

    def ask_surely(self, calls: Path, redis: RedisServer | None, each: int, *how: str) -> tuple[Turn, int]:
        """Take turns until one counts: all buckets were asked where they are kept, so many in each check.

        On a busy machine Redis may be later than its timeout, or a check later than it may be; then the turn
        tells of something else. Returns the turn, and how many did not count.

        Raises:
            NotStarted: none does.
        """
        asked: dict[str, int] = {}
        for late in range(_TRIES):
            before = self.server.stores()
            turn = self.ask(calls, redis, *how)
            count = each * (turn.outcome.allowed + turn.outcome.refused)
            asked = asked_since(self.server, before, count)
            if asked == {STORES[self.store]: count} and turn.outcome.unavailable == 0:
                return turn, late
        raise NotStarted(f"{self.name}: some checks were too late, {_TRIES} times in turn", str(asked))


def sides(directory: Path, callers: Callers, redis: RedisServer | None, stack: ExitStack) -> list[Side]:
    """Start what is compared: a sidecar alone, one with Redis, and one with as many workers as cores."""
    found = [Side("memory", MEMORY, sidecar(directory / "memory", callers, stack))]
    if redis is not None:
        env = {"REDIS_URL": redis.url}
        found.append(Side("exact", EXACT, sidecar(directory / "exact", callers, stack, env)))
        cores = os.cpu_count() or 1
        if cores > 1:
            server = sidecar(directory / "exact-workers", callers, stack, env, workers=cores)
            found.append(Side(f"exact, {cores} workers", EXACT, server))
    return found


def sidecar(
    place: Path,
    callers: Callers,
    stack: ExitStack,
    env: Mapping[str, str] | None = None,
    workers: int = 1,
) -> Server:
    """Start a sidecar; with Redis, wait until its buckets are spent from there."""
    place.mkdir(parents=True)
    server = subjects.start_sidecar(place, callers.policies, stack, env, workers)
    linked([server], callers)
    return server


def linked(servers: Sequence[Server], callers: Callers) -> None:
    """Ask until no bucket is kept in outage any more: every process has found Redis.

    Raises:
        NotStarted: one never does.
    """
    end_s = time.monotonic() + _SETTLE_S
    waiting = list(servers)
    while waiting:
        if time.monotonic() > end_s:
            log = waiting[0].child.plan.log
            raise NotStarted(f"a sidecar does not reach Redis; its log is {log}", tail(log))
        before = [server.stores() for server in waiting]
        sockets = [socket for server in waiting for socket in server.sockets]
        how = ("--rate", str(20 * len(sockets)), "--seconds", "0.2", "--connections", str(len(sockets)))
        openloop.ask(sockets, [callers.nested[1]], *how)
        time.sleep(_TOLD_S)
        waiting = [
            server for server, old in zip(waiting, before, strict=True) if not _linked(old, server.stores())
        ]


def _linked(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    asked = sum(after.values()) > sum(before.values())
    return asked and after.get("outage", 0) == before.get("outage", 0)


def asked_since(server: Server, before: Mapping[str, int], count: int) -> dict[str, int]:
    """Return by store how many buckets were asked since, as soon as there are so many.

    Raises:
        NotStarted: there never are.
    """
    end_s = time.monotonic() + _SETTLE_S
    while True:
        after = server.stores()
        asked = {store: number - before.get(store, 0) for store, number in after.items()}
        if sum(asked.values()) >= count:
            return {store: number for store, number in asked.items() if number}
        if time.monotonic() > end_s:
            raise NotStarted(f"of {count} buckets that were asked, metrics tell of", str(asked))
        time.sleep(0.05)
