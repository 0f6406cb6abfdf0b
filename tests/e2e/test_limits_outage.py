"""Redis goes away and comes back under real sidecars: what each limit says, and who waits for whom."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.proxy.stage import short_directory
from tests.support.outages import BURST, PATIENT, Load, eventually, limited, policies, quantile
from tests.support.redis import RedisServer, redis_server

LOST = "the store of limits does not answer: meanwhile each limit does what its `onStoreError` says"
FOUND = "the store of limits answers again"

_DECIDED = 'authz_limit_decisions_total{{limit="{}",mode="enforce",outcome="{}",store="{}"}}'


@pytest.fixture
def home() -> Iterator[Path]:
    directory = short_directory()
    policies(directory / "policies")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def redis(transport: str) -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(autouse=True)
def empty(redis: RedisServer) -> None:
    redis.ask("FLUSHALL")


def test_each_limit_does_what_it_says_while_redis_is_dead_and_floors_hold_after_it(
    home: Path, redis: RedisServer
) -> None:
    with limited(home, redis.url, AUTHZ_REDIS_TIMEOUT_MS=PATIENT) as made:
        eventually(made.is_up, "redis")
        assert made.statuses("/local", 5) == {200: 5}
        assert made.status("/deny") == 200
        redis.kill()
        try:
            # One sidecar is the whole fleet: what Redis gave out already is not given out again.
            assert made.statuses("/local", BURST) == {200: BURST - 5, 429: 5}
            assert made.statuses("/allow", 2 * BURST) == {200: 2 * BURST}
            assert made.statuses("/deny", 3) == {503: 3}
            assert made.status("/both", "another") == 503
            assert made.statuses("/local", BURST + 1, "another") == {200: BURST, 429: 1}
            assert made.status("/open") == 200
            eventually(lambda: made.is_down() and made.told(LOST) != [], "the outage")
            code, body = made.ready()
            assert (code, body["ready"]) == (200, True)
            assert "does not answer" in body["store"]
        finally:
            redis.start()  # empty
        eventually(made.is_up, "redis again")
        # What was decided alone is not charged, but what Redis itself had given out is not forgotten.
        assert made.statuses("/local", BURST) == {200: BURST - 5, 429: 5}
        assert made.status("/deny") == 200
        eventually(lambda: made.told(FOUND) != [], "the end of the outage")
        assert "store" not in made.ready()[1]

        alone = BURST + 2 * BURST + 3 + 1 + BURST + 1
        assert made.told(FOUND)[0]["decided_alone"] == alone
        (lost,) = made.told(LOST)
        assert (lost["fleet"], lost["store"]) == (1, redis.url.removesuffix("/0"))
        lines = made.lines(5 + 1 + alone + 1 + BURST + 1)
        stores = Counter(limit["store"] for line in lines for limit in line.get("limits", ()))
        assert stores["outage"] == alone + 1  # /both has two
        refused = [line for line in lines if line["reason"] == "store_unavailable"]
        assert {line["rule"] for line in refused} == {"deny", "both"}
        assert all(limit.get("refused") == "store" for line in refused for limit in line["limits"][-1:])
        assert made.number(_DECIDED.format("allow", "allow", "outage")) == 2 * BURST
        assert made.number(_DECIDED.format("deny", "deny", "outage")) == 4
        assert made.number('authz_store_outages_total{store="redis"}') == 1


def test_while_redis_hangs_for_a_second_everybody_is_answered_in_time(home: Path, redis: RedisServer) -> None:
    """With the timeout that operators have: who asks meanwhile is decided here."""
    targets = [(home, path) for path in ("/fast", "/fast", "/local", "/open")]
    with limited(home, redis.url) as made:
        eventually(made.is_up, "redis")
        with Load(targets, deadline_s=1.0) as load:
            time.sleep(0.3)
            redis.pause()
            try:
                time.sleep(1.0)
            finally:
                redis.resume()
            resumed_s = time.monotonic()
            eventually(made.is_up, "redis again")
            before = made.number(_DECIDED.format("fast", "allow", "redis"))
            eventually(lambda: made.number(_DECIDED.format("fast", "allow", "redis")) > before, "an answer")
            assert time.monotonic() - resumed_s < 5.0
        assert made.number(_DECIDED.format("fast", "allow", "outage")) > 0
        assert {one.status for one in load.of("/fast", "/open")} == {200}
        assert {one.status for one in load.of("/local")} == {200, 429}
        hung = [one.waited_s for one in load.of("/fast", "/local") if 0 < resumed_s - one.at_s < 1.0]
        assert quantile(hung, 0.9) < 0.25  # the hang lasts four times as long
        assert made.told(LOST) != []


def test_a_check_without_limits_waits_for_nobody_and_one_with_limits_not_beyond_its_deadline(
    home: Path, redis: RedisServer
) -> None:
    """With a timeout far beyond anybody's deadline: whoever waited for Redis would be seen to."""
    with limited(home, redis.url, AUTHZ_REDIS_TIMEOUT_MS=PATIENT) as made:
        eventually(made.is_up, "redis")
        redis.pause()
        try:
            with Load(
                [(home, path) for path in ("/fast", "/fast", "/fast", "/open")], deadline_s=0.3
            ) as load:
                time.sleep(0.8)
        finally:
            redis.resume()
        assert {one.status for one in load.of("/open")} == {200}
        assert quantile([one.waited_s for one in load.of("/open")], 0.99) < 0.2
        waiting = [one for one in load.of("/fast") if one.at_s < load.asked[0].at_s + 0.5]
        # A machine that is busy for the last 5 ms costs an answer: 0. Nobody is allowed meanwhile.
        assert {one.status for one in waiting} <= {503, 0}
        assert [one.status for one in waiting].count(503) >= len(waiting) / 2
        late = [line for line in made.lines(len(load.asked)) if line["reason"] == "overloaded"]
        assert {line["detail"] for line in late} == {"deadline"}
