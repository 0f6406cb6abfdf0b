"""Every kind of place that keeps buckets, ready to be spent from, as an operator's settings ask for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from authz.config.rooms import LimitSettings
from authz.limits.redis.spender import RedisLimiter
from authz.limits.store import Limiter
from authz.model.limit import Rate, Spend, Spent, Store
from authz.model.redis_address import parse_redis_url
from authz.wiring.clock import SystemClock
from authz.wiring.limiter import limits
from authz.wiring.shares import ALONE
from tests.support.proxy import eventually
from tests.support.redis import redis_cluster, redis_server, sentinel_set
from tests.support.spending import Wanting

KINDS = ("memory", "standalone", "sentinel", "cluster")

_PATIENCE_S = 30.0  # for a machine that does other things, too
# So patient that a busy machine never makes an outage of a test.
_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class Place:
    """One kind of store."""

    kind: str
    url: str = ""

    @property
    def shared(self) -> bool:
        """Whether several processes draw from its buckets."""
        return bool(self.url)

    @property
    def store(self) -> Store:
        """What it is called."""
        return Store.REDIS if self.url else Store.MEMORY

    @contextmanager
    def limiter(self, keyspace: str = "") -> Iterator[Limiter]:
        """Open one limiter, as each process has one, in a keyspace of this test run unless told otherwise."""
        settings = LimitSettings(
            redis_url=parse_redis_url(self.url) if self.url else None,
            keyspace=keyspace or f"test-{os.getpid()}",
            redis_timeout_ms=_TIMEOUT_MS,
        )
        crashes: list[BaseException] = []
        made = limits(settings, ALONE, SystemClock(), crashes.append)
        made.start()
        try:
            assert eventually(lambda: _is_whole(made.limiter), _PATIENCE_S), f"{self.kind} does not answer"
            alone = _alone(made.limiter)
            yield made.limiter
            assert _alone(made.limiter) == alone, "checks were decided without the store"
        finally:
            made.close()
        assert crashes == []


def _alone(limiter: Limiter) -> int:
    return limiter.counts.alone if isinstance(limiter, RedisLimiter) else 0


def _is_whole(limiter: Limiter) -> bool:
    """Whether callers wherever they lie reach their buckets: on a Cluster some do before others."""
    callers = [("customer", "ns", str(number)) for number in range(32)]
    spends = [Spend("probe", ("probe", *caller), Rate(1.0, 1.0), 0.0, caller) for caller in callers]
    return all(draw(limiter, spend)[0].store is not Store.OUTAGE for spend in spends)


@contextmanager
def place(kind: str) -> Iterator[Place]:
    """Start what a kind of store needs."""
    with ExitStack() as stack:
        match kind:
            case "memory":
                yield Place(kind)
            case "standalone":
                yield Place(kind, stack.enter_context(redis_server()).unix_url)
            case "sentinel":
                yield Place(kind, stack.enter_context(sentinel_set()).url)
            case "cluster":
                yield Place(kind, stack.enter_context(redis_cluster()).url)
            case _:
                raise ValueError(f"there is no store called {kind}")


def ask(limiter: Limiter, *checks: Wanting, shadow: bool = False) -> list[Wanting]:
    """Spend for some checks as one batch, and wait until each was handed on; once each."""
    done: list[Wanting] = []
    settled = threading.Event()

    def then(handed: Sequence[Wanting]) -> None:
        done.extend(handed)
        if len(done) >= len(checks):
            settled.set()

    (limiter.spend_in_shadow if shadow else limiter.spend)(checks, then)
    assert settled.wait(_PATIENCE_S), "a check was never handed on"
    assert sorted(map(id, done)) == sorted(map(id, checks))
    assert [check.times for check in checks] == [1] * len(checks)
    return [*checks]


def draw(limiter: Limiter, *spends: Spend, shadow: bool = False) -> tuple[Spent, ...]:
    """Spend for one check, and return what it was told."""
    (check,) = ask(limiter, Wanting(*spends), shadow=shadow)
    assert check.spent is not None
    return check.spent


def at_once(callers: int, call: Callable[[int], None]) -> None:
    """Have so many threads call at the same moment; raises what they raised."""
    ready = threading.Barrier(callers)

    def run(number: int) -> None:
        ready.wait(_PATIENCE_S)
        call(number)

    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(run, number) for number in range(callers)]:
            done.result()


def seconds() -> float:
    """Of a clock that never goes back."""
    return time.monotonic()
