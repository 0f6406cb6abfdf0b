"""A Redis that forgets, one that was never there, and what a fleet gives out meanwhile, by its records."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from authz.proxy.stage import short_directory
from tests.support.limited import BURST, Limited, Load, eventually, limited, policies
from tests.support.redis import RedisServer, free_ports, redis_server, sentinel_set

TRANSPORTS = ("native",)  # nothing here depends on who serves the socket

FAST_PER_S, FAST_BURST = 20, 400


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    made = [short_directory() for _ in range(2)]
    for home in made:
        policies(home / "policies", f"{FAST_PER_S}/s", FAST_BURST)
    yield made
    for home in made:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def home(homes: list[Path]) -> Path:
    return homes[0]


def test_behind_a_promotion_that_lost_every_write_the_fleet_goes_on_where_it_was(homes: list[Path]) -> None:
    with sentinel_set() as watched, ExitStack() as stack:
        master, replica = watched.servers
        fleet = [Limited(home, stack, watched.url) for home in homes]
        eventually(lambda: all(one.number("authz_fleet_members") == 2 for one in fleet), "the fleet")
        replica.ask("CONFIG", "SET", "replica-read-only", "no")
        with Load([(home, "/fast") for home in homes * 2], deadline_s=2.0) as load:
            eventually(lambda: _refused(load) > 100, "an empty bucket")
            master.kill()
            lost_s = time.monotonic()
            replica.ask("FLUSHALL")  # what was not replicated yet, at its worst
            eventually(lambda: replica.ask("ROLE")[0] == b"master", "a promotion")
            promoted_s = time.monotonic()
            eventually(lambda: all(one.is_up() for one in fleet), "the fleet")
            recovered_s = time.monotonic()
            time.sleep(1.0)
        lines = _all_lines(fleet, len(load.asked))
        assert recovered_s - promoted_s < 3.0
        assert {one.status for one in load.asked} == {200, 429}
        alone_s = recovered_s - lost_s
        admitted = [line for line in lines if line["outcome"] == "allow"]
        # Redis gives out a burst and what refills; a fleet that decides alone what refills meanwhile, since
        # what it gives out itself Redis never learns. Each may hold one token more, and clocks are read late.
        most = FAST_BURST + FAST_PER_S * _seconds(lines) + FAST_PER_S * (alone_s + 0.5) + 2
        assert FAST_BURST < len(admitted) <= most
        assert {limit["store"] for line in lines for limit in line["limits"]} == {"redis", "outage"}


def test_workers_divide_a_limit_among_themselves_while_redis_is_gone(home: Path) -> None:
    with redis_server() as redis, limited(home, redis.url, workers=2) as made:
        eventually(lambda: made.number("authz_fleet_members") == 2, "both workers")
        assert made.statuses("/local", 4) == {200: 4}
        redis.kill()
        assert made.statuses("/local", BURST, worker=0) == {200: BURST // 2 - 2, 429: BURST // 2 + 2}
        assert made.statuses("/local", BURST, worker=1) == {200: BURST // 2, 429: BURST // 2}
        eventually(lambda: "store" in made.ready()[1], "the outage")
        assert made.ready()[0] == 200
        redis.start()
        eventually(lambda: made.is_up() and "store" not in made.ready()[1], "redis again")


def test_a_start_without_redis_serves_and_refuses_what_nobody_can_divide(home: Path) -> None:
    (port,) = free_ports(1)
    with limited(home, f"redis://127.0.0.1:{port}") as made:
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


def _seconds(lines: Sequence[dict[str, Any]]) -> float:
    """Return how long all this took, by the records."""
    times = sorted(datetime.fromisoformat(line["time"]) for line in lines)
    return (times[-1] - times[0]).total_seconds()
