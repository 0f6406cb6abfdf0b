"""A Redis that forgets, one that was never there, and what a fleet gives out meanwhile, by its records."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from authz.proxy.stage import short_directory
from tests.support.outages import BURST, PATIENT, Limited, Load, by_network, eventually, limited, policies
from tests.support.redis import RedisServer, free_ports, redis_cluster, redis_server, sentinel_set

TRANSPORTS = ("native",)  # nothing here depends on who serves the socket

FAST_PER_S, FAST_BURST = 20, 400
_ASKED = 'authz_store_checks_total{decided="asked",store="redis"}'


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    made = [short_directory() for _ in range(2)]
    for home in made:
        policies(home / "policies")
    yield made
    for home in made:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def home(homes: list[Path]) -> Path:
    return homes[0]


@dataclass
class Pair:
    """A master that has the bucket, and the replica that will take its place."""

    master: RedisServer
    replica: RedisServer

    @property
    def promoted(self) -> bool:
        try:
            return bool(self.replica.ask("ROLE")[0] == b"master")
        except redis.ConnectionError:  # Sentinel ends everybody's connection when it promotes
            return False


@contextmanager
def watched(kind: str) -> Iterator[tuple[str, list[Pair]]]:
    """Start what promotes replicas by itself; yields its REDIS_URL and who may have the bucket."""
    if kind == "sentinel":
        with sentinel_set() as few:
            yield few.url, [Pair(*few.servers)]
    else:
        with redis_cluster() as many:
            yield many.url, [Pair(*many.servers[number::3]) for number in range(3)]


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_behind_a_promotion_that_lost_every_write_the_fleet_goes_on_where_it_was(
    homes: list[Path], kind: str
) -> None:
    for home in homes:
        by_network(home / "policies", f"{FAST_PER_S}/s", FAST_BURST)
    with watched(kind) as (url, pairs), ExitStack() as stack:
        fleet = [Limited(home, stack, url) for home in homes]
        eventually(lambda: all(one.number("authz_fleet_members") == 2 for one in fleet), "the fleet")
        with Load([(home, "/fast") for home in homes * 2], deadline_s=2.0) as load:
            eventually(lambda: _refused(load) > 100, "an empty bucket")
            (pair,) = [pair for pair in pairs if pair.master.ask("KEYS", "*:fast:*")]
            pair.replica.ask("CONFIG", "SET", "replica-read-only", "no")
            pair.master.kill()
            lost_at = datetime.now(UTC)
            pair.replica.ask("FLUSHALL")  # what was not replicated yet, at its worst
            eventually(lambda: pair.promoted, "a promotion")
            promoted_s = time.monotonic()
            before = [one.number(_ASKED) for one in fleet]
            eventually(lambda: all(one.number(_ASKED) > was for one, was in zip(fleet, before, strict=True)))
            recovered_s = time.monotonic()
            time.sleep(1.0)
        lines = _all_lines(fleet, len(load.asked))
        assert recovered_s - promoted_s < 3.0
        assert {one.status for one in load.asked} == {200, 429}
        # What Redis gave out, the old master and the new one together, is what one that forgets nothing may.
        assert FAST_BURST < _admitted(lines, "redis") <= FAST_BURST + FAST_PER_S * (_seconds(lines) + 0.5)
        # The bucket was empty, so what the fleet gave out alone is what refilled. Each may hold one token
        # more, and was last told of its debt a moment before.
        meanwhile = [line for line in lines if _time(line) >= lost_at]
        assert 0 < _admitted(meanwhile, "outage") <= FAST_PER_S * (_seconds(meanwhile) + 0.5) + 2


def test_workers_divide_a_limit_among_themselves_while_redis_is_gone(home: Path) -> None:
    with redis_server() as server, limited(home, server.url, 2, AUTHZ_REDIS_TIMEOUT_MS=PATIENT) as made:
        eventually(lambda: made.number("authz_fleet_members") == 2, "both workers")
        assert made.statuses("/local", 4) == {200: 4}
        server.kill()
        assert made.statuses("/local", BURST, worker=0) == {200: BURST // 2 - 2, 429: BURST // 2 + 2}
        assert made.statuses("/local", BURST, worker=1) == {200: BURST // 2, 429: BURST // 2}
        eventually(lambda: "store" in made.ready()[1], "the outage")
        assert made.ready()[0] == 200
        server.start()
        eventually(lambda: made.is_up() and "store" not in made.ready()[1], "redis again")


def test_a_start_without_redis_serves_and_refuses_what_nobody_can_divide(home: Path) -> None:
    (port,) = free_ports(1)
    with limited(home, f"redis://127.0.0.1:{port}", AUTHZ_REDIS_TIMEOUT_MS=PATIENT) as made:
        code, body = made.ready()
        assert (code, body["ready"]) == (200, True)
        assert made.statuses("/local", 2) == {503: 2}
        assert made.statuses("/allow", BURST + 1) == {200: BURST + 1}
        assert made.status("/deny") == 503
        assert made.status("/open") == 200
        assert made.number("authz_fleet_members") == 0
        eventually(lambda: "store" in made.ready()[1], "the outage")
        with RedisServer(home, port):
            eventually(made.is_up, "redis")
            assert made.statuses("/local", BURST + 1) == {200: BURST, 429: 1}
            assert made.status("/deny") == 200


def test_a_start_without_redis_gives_out_a_part_where_the_fleet_is_known(home: Path) -> None:
    (port,) = free_ports(1)
    with limited(home, f"redis://127.0.0.1:{port}", AUTHZ_FLEET_SIZE="4") as made:
        assert made.statuses("/local", BURST) == {200: BURST // 4, 429: BURST - BURST // 4}
        assert made.number("authz_fleet_members") == 4
        assert made.status("/deny") == 503


def _refused(load: Load) -> int:
    return sum(1 for one in list(load.asked) if one.status == 429)


def _all_lines(fleet: Sequence[Limited], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [line for one in fleet for line in one.lines(0)]
        return len(found) >= count

    eventually(there, "every record")
    return found


def _admitted(lines: Sequence[dict[str, Any]], store: str) -> int:
    """Count the checks that passed and were decided there."""
    return sum(line["outcome"] == "allow" and line["limits"][0]["store"] == store for line in lines)


def _time(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["time"])


def _seconds(lines: Sequence[dict[str, Any]]) -> float:
    """Return how long all this took, by the records."""
    times = sorted(map(_time, lines))
    return (times[-1] - times[0]).total_seconds()
