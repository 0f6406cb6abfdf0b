"""One bucket that everybody draws from: over a fleet of sidecars, and when it is empty."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from authz.bench import buckets, openloop, subjects, usage
from authz.bench.buckets import Callers
from authz.bench.redis_server import RedisServer
from authz.bench.sides import LimitEffort, Progress, Side, Turn, linked
from authz.bench.subjects import Server
from authz.model.errors import NotStarted

_AGAIN = 2  # where some decided alone: on a busy machine Redis may be later than its timeout
_OVER = 3  # so many times what the bucket admits is asked for


@dataclass(frozen=True, slots=True)
class Fleet:
    """Many sidecars on one Redis, and one bucket for all callers of all of them."""

    sidecars: int
    seconds: float  # from the first call to the last answer
    asked: int
    admitted: int
    promised: int  # burst + rate x seconds
    alone: int  # decided without Redis
    errors: int  # calls without an answer
    cpu_us: float  # per answer, of all sidecars
    redis_us: float
    scripts: float  # calls of Redis per answer
    p99_ms: float  # of those that were admitted


@dataclass(frozen=True, slots=True)
class Hot:
    """A bucket that is empty, and that everybody asks for: medians over the rounds."""

    name: str
    store: str
    cpu_us: float  # per refusal, of the sidecar
    per_s: float
    redis_us: float  # per refusal
    scripts: float  # calls of Redis per refusal
    commands: float
    refused: float  # share of all answers


def fleet(
    directory: Path, callers: Callers, redis: RedisServer, effort: LimitEffort, progress: Progress
) -> Fleet:
    """Count what a fleet admits, from its answers and from its metrics.

    Raises:
        NotStarted: it admits more than the limit promises.
    """
    progress(f"limits: {effort.sidecars} sidecars on one Redis")
    with ExitStack() as stack:
        servers = _started(directory, callers, redis, effort.sidecars, stack)
        result = _counted(servers, callers, redis, effort)
        for _ in range(_AGAIN):
            if result.admitted <= result.promised or not result.alone:
                break
            result = _counted(servers, callers, redis, effort)
    if result.admitted > result.promised:
        raise NotStarted(f"{len(servers)} sidecars admitted more than was promised", str(result))
    return result


def _counted(servers: Sequence[Server], callers: Callers, redis: RedisServer, effort: LimitEffort) -> Fleet:
    before, spent_s = redis.used(), _cpu_s(servers)
    counted, alone = _allowed(servers), _alone(servers)
    how = ("--rate", str(_OVER * buckets.FLEET_PER_S), "--seconds", str(effort.fleet_seconds))
    sockets = [server.socket for server in servers]
    found = openloop.ask(sockets, [callers.fleet], *how, "--connections", str(len(servers)))
    used, spent_s = redis.used().since(before), _cpu_s(servers) - spent_s
    answered = max(1, found.answered)
    return Fleet(
        len(servers),
        found.wall_s,
        found.sent,
        # Whoever got no answer may have been admitted all the same.
        max(found.allowed, _allowed(servers) - counted),
        int(buckets.FLEET_BURST + buckets.FLEET_PER_S * found.wall_s),
        _alone(servers) - alone,
        found.errors + found.unanswered,
        spent_s / answered * 1e6,
        used.cpu_s / answered * 1e6,
        used.scripts / answered,
        found.p99_ms,
    )


def hot(
    found: Sequence[Side],
    callers: Callers,
    redis: RedisServer | None,
    effort: LimitEffort,
    progress: Progress,
) -> list[Hot]:
    """Ask for one empty bucket again and again."""
    asked = [side for side in found if side.server.workers == 1]
    turns: dict[str, list[Turn]] = {side.name: [] for side in asked}
    for number in range(effort.rounds + 1):
        progress(f"limits: one hot bucket, round {number}" if number else "limits: one hot bucket")
        for side in asked:
            turn, _ = side.ask_surely(callers.hot, redis, 1, *effort.full_speed)
            if number:
                turns[side.name].append(turn)
    return [_hot(side, turns[side.name]) for side in asked]


def _hot(side: Side, turns: Sequence[Turn]) -> Hot:
    seen = [(turn, max(1, turn.outcome.refused)) for turn in turns]
    return Hot(
        side.name,
        side.store,
        median(turn.cpu_us for turn in turns),
        median(turn.outcome.answered / turn.outcome.wall_s for turn in turns),
        median(turn.redis.cpu_s / refused * 1e6 for turn, refused in seen),
        median(turn.redis.scripts / refused for turn, refused in seen),
        median(turn.redis.commands / refused for turn, refused in seen),
        median(turn.outcome.refused / max(1, turn.outcome.answered) for turn in turns),
    )


def _started(
    directory: Path, callers: Callers, redis: RedisServer, count: int, stack: ExitStack
) -> list[Server]:
    """Start them all at once: each takes half a second of one core."""
    servers = []
    for number in range(count):
        place = directory / f"fleet-{number}"
        place.mkdir()
        env = _environment(redis, number)
        servers.append(subjects.launch_sidecar(place, callers.policies, stack, env))
    for server in servers:
        server.wait_ready()
    linked(servers, callers)
    return servers


def _environment(redis: RedisServer, number: int) -> dict[str, str]:
    return {"REDIS_URL": redis.url, "AUTHZ_SIDECAR": f"bench-{number}"}


def _cpu_s(servers: Sequence[Server]) -> float:
    return sum(usage.tree_cpu_s(server.child.pid) for server in servers)


def _allowed(servers: Sequence[Server]) -> int:
    return sum(int(server.counts().get("allowed", 0)) for server in servers)


def _alone(servers: Sequence[Server]) -> int:
    return sum(server.stores().get("outage", 0) for server in servers)
