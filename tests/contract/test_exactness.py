"""What is lost or given away when something happens to Redis: the bounds of docs/exactness.md, on a real one.

Buckets that refill within a minute count nothing here, so whatever passes beyond a burst was given away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack

import pytest

from authz.config.rooms import LimitSettings
from authz.limits.redis.keys import Keys
from authz.limits.redis.spender import RedisLimiter
from authz.model.limit import OnStoreError, Rate, Spend, Spent, Store
from authz.model.redis_address import parse_redis_url
from authz.wiring.clock import SystemClock
from authz.wiring.limiter import limits
from authz.wiring.shares import ALONE
from tests.support.proxy import eventually
from tests.support.redis import RedisServer, redis_server
from tests.support.spending import spend
from tests.support.stores import draw

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/exactness.md").read_text(encoding="utf-8")
BURST = 10
SLOW = Rate(BURST / 86_400, BURST)  # a token in more than two hours
BUCKET = spend(rate=SLOW)
KEYSPACE = "exactness"
PATIENCE_S = 30.0


@contextmanager
def process(server: RedisServer, timeout_ms: int = 1000, fleet_size: int = 1) -> Iterator[RedisLimiter]:
    """Open what one process of a sidecar has."""
    settings = LimitSettings(
        redis_url=parse_redis_url(server.url),
        keyspace=KEYSPACE,
        redis_timeout_ms=timeout_ms,
        fleet_size=fleet_size,
    )
    crashes: list[BaseException] = []
    made = limits(settings, ALONE, SystemClock(), crashes.append)
    made.start()
    try:
        assert isinstance(made.limiter, RedisLimiter)
        assert answers(made.limiter)
        yield made.limiter
    finally:
        made.close()
    assert crashes == []


def answers(limiter: RedisLimiter, *, wanted: bool = True) -> bool:
    return eventually(lambda: limiter._session.answers() is wanted, PATIENCE_S)


def passing(limiter: RedisLimiter, tries: int = 2 * BURST, bucket: Spend = BUCKET) -> list[Spent]:
    """Ask so often; return what was told to those who passed."""
    told = [draw(limiter, bucket)[0] for _ in range(tries)]
    return [one for one in told if one.passed]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


def test_a_flush_hands_out_one_more_burst(server: RedisServer) -> None:
    with process(server) as one, process(server) as other:
        assert len(passing(one)) == BURST
        assert passing(other) == []
        server.ask("FLUSHALL")
        with process(server) as third:  # the others remember for a second that the bucket was empty
            assert len(passing(third)) == BURST
        assert eventually(lambda: one._seen.refusal((BUCKET,), SystemClock().ticks_us()) is None, 5.0)
        assert passing(one) == []


def test_scripts_that_are_forgotten_cost_nobody_anything(server: RedisServer) -> None:
    with process(server) as one:
        passed = 0
        for _ in range(2 * BURST):
            server.ask("SCRIPT", "FLUSH")
            passed += len(passing(one, 1))
        assert passed == BURST
        assert one.counts.alone == 0


def test_behind_a_restart_a_process_that_lived_on_tells_what_it_knows(server: RedisServer) -> None:
    with process(server) as one:
        assert len(passing(one, 7)) == 7
        server.kill()
        assert answers(one, wanted=False)
        server.start()
        assert answers(one)
        with process(server) as stranger:
            assert len(passing(one)) == BURST - 7
            assert passing(stranger) == []


def test_behind_a_restart_one_burst_is_given_away_where_nobody_remembers(server: RedisServer) -> None:
    with process(server) as one:
        assert len(passing(one)) == BURST
    server.kill()
    server.start()
    with process(server) as other:
        assert len(passing(other)) == BURST


def test_an_outage_gives_away_one_burst_at_most_however_often_it_comes(server: RedisServer) -> None:
    passed: list[Spent] = []
    with process(server) as one, process(server) as other:
        passed += passing(one, 4)
        passed += passing(other, 4)
        for _ in range(3):
            server.pause()
            for limiter in (one, other):
                passed += passing(limiter, BURST)
                assert answers(limiter, wanted=False)
            server.resume()
            assert answers(one)
            assert answers(other)
        passed += passing(one, BURST)
        passed += passing(other, BURST)
    alone = [told for told in passed if told.store is Store.OUTAGE]
    # What was counted alone is not told to Redis afterwards: it comes on top, and once.
    assert 0 < len(alone) <= BURST
    assert len(passed) - len(alone) <= BURST


def test_a_call_without_an_answer_may_have_spent_and_is_never_sent_again(server: RedisServer) -> None:
    deny = BUCKET._replace(on_store_error=OnStoreError.DENY)
    with process(server, timeout_ms=50) as one:
        assert len(passing(one, 1, deny)) == 1
        server.pause()
        assert passing(one, 1, deny) == []
        assert answers(one, wanted=False)
        server.resume()
        assert answers(one)
        assert len(passing(one, bucket=deny)) in (BURST - 2, BURST - 1)


@pytest.mark.parametrize(("step_s", "left"), [(3600, 0), (-3600, BURST // 2), (-10 * 86_400, BURST)])
def test_a_step_of_the_clock_of_redis_refills_a_bucket_at_most(
    server: RedisServer, step_s: int, left: int
) -> None:
    """A clock that went back by an hour finds stamps an hour ahead, and so on."""
    bucket = BUCKET._replace(rate=Rate(BURST / 7200, BURST))
    seconds, micros = map(int, server.ask("TIME"))
    stamp = (seconds + step_s) * 1e6 + micros
    with process(server) as one:
        server.ask("SET", Keys(KEYSPACE).name(bucket), pack("<dd", BURST, stamp))
        assert len(passing(one, bucket=bucket)) == left


def test_a_key_that_holds_something_else_is_left_alone_and_its_limit_does_as_it_says(
    server: RedisServer,
) -> None:
    name = Keys(KEYSPACE).name(BUCKET)
    with process(server) as one:
        server.ask("RPUSH", name, "somebody's")
        told = draw(one, BUCKET)
        assert (told[0].store, told[0].passed) == (Store.OUTAGE, True)
        assert server.ask("TYPE", name) in (b"list", "list")
        assert draw(one, spend("other", rate=SLOW))[0].store is Store.REDIS


# --- the page


def test_every_proof_that_the_page_names_is_there() -> None:
    proofs = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", PAGE)
    assert len(proofs) > 15
    lost = [
        f"{file}::{test}"
        for file, test in proofs
        if not (ROOT / file).is_file()
        or (test and f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8"))
    ]
    assert lost == []
