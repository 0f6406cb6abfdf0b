"""Buckets in this process: exact, bounded, and shared by nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from threading import Lock

from authz.limits.bucket import settle, wait_us
from authz.limits.store import S
from authz.model.limit import Spend, Spent, Store

# One bucket takes about 400 bytes with its name: 100,000 are 40 MB at the very worst.
MAX_BUCKETS = 100_000

# Old buckets looked at per new one. Two would keep pace with any flood; four also shrinks after it.
_SWEEP = 4


_FULL = (0.0, 0, 1.0)  # the state of a bucket that nobody has drawn from
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class MemoryLimiter:
    """Token buckets in memory, for every judging thread of one process.

    When `max_buckets` is reached and no bucket is full again, callers that have none share one overflow
    bucket per limit. INVARIANT: a bucket in debt is never dropped, since dropping refills.

    Args:
        clock: microseconds of a monotonic clock; wall clock trouble changes nothing.
        max_buckets: how many buckets may exist.
    """

    def __init__(self, clock: Callable[[], int], max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: dict[tuple[str, ...], tuple[float, int, float]] = {}  # debt, when (us), rate
        self._oldest: deque[tuple[str, ...]] = deque()
        self._lock = Lock()  # once per batch, not per check

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle every waiting check at once, then hand them on."""
        now_us = self._clock()
        with self._lock:
            for check in waiting:
                check.settle(self.draw(check.spends, now_us))
        then(waiting)

    def draw(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...]:
        """Draw from all buckets of one check, or from none."""
        found = []
        passed = True
        for spend in spends:
            bucket, debt = self._look(spend, now_us)
            excess = debt + spend.cost - spend.rate.burst_tokens
            if excess > 0.0:
                passed = False
            found.append((spend, bucket, debt, excess))
        if not passed:
            return tuple([_report(spend, debt, excess) for spend, _, debt, excess in found])
        for spend, bucket, debt, _ in found:
            self._charge(bucket, debt + spend.cost, now_us, spend)
        return tuple([_report(spend, debt + spend.cost, 0.0) for spend, _, debt, _ in found])

    def _look(self, spend: Spend, now_us: int) -> tuple[tuple[str, ...], float]:
        """Return the name of the bucket that answers for a spend, and its debt now."""
        bucket = spend.bucket
        held = self._buckets.get(bucket)
        if held is None:
            if len(self._buckets) < self._max_buckets or self._sweep(now_us):
                return bucket, 0.0
            bucket = (spend.limit,)  # a real bucket's name is longer: see Spend.bucket
            held = self._buckets.get(bucket, _FULL)
        debt, then_us, _ = held
        return bucket, settle(debt, now_us - then_us, spend.rate.rate_per_s)

    def _charge(self, bucket: tuple[str, ...], debt: float, now_us: int, spend: Spend) -> None:
        if bucket not in self._buckets:
            if debt <= 0.0:
                return
            self._sweep(now_us)
            self._oldest.append(bucket)
        self._buckets[bucket] = (debt, now_us, spend.rate.rate_per_s)

    def _sweep(self, now_us: int) -> bool:
        """Drop a few buckets that are full again; return whether there is room for one more."""
        for _ in range(min(_SWEEP, len(self._oldest))):
            bucket = self._oldest.popleft()
            debt, then_us, rate_per_s = self._buckets[bucket]
            if settle(debt, now_us - then_us, rate_per_s) <= 0.0:
                del self._buckets[bucket]
            else:
                self._oldest.append(bucket)
        return len(self._buckets) < self._max_buckets


class NoLimiter:
    """`RATE_LIMIT_ENABLED=false`: everything passes, nothing is counted, and each answer says so."""

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Let every waiting check pass."""
        for check in waiting:
            check.settle(tuple(_unlimited(spend) for spend in check.spends))
        then(waiting)


def _report(spend: Spend, debt: float, excess: float) -> Spent:
    """Say what came of one spend: `debt` tokens are owed now, `excess` tokens were missing (0: none)."""
    rate = spend.rate
    remaining = int(rate.burst_tokens - debt)
    passed = excess <= 0.0
    return _new(
        Spent,
        (
            spend.limit,
            passed,
            remaining if remaining > 0 else 0,
            0 if passed else _retry_ms(excess, spend),
            int(debt / rate.rate_per_s) + 1 if debt > 0.0 else 0,
            rate,
            Store.MEMORY,
        ),
    )


def _retry_ms(excess: float, spend: Spend) -> int:
    if spend.cost > spend.rate.burst_tokens:
        return -1
    return ceil(wait_us(excess, spend.rate.rate_per_s) / 1000)


def _unlimited(spend: Spend) -> Spent:
    return Spent(
        limit=spend.limit,
        passed=True,
        remaining=int(spend.rate.burst_tokens),
        retry_ms=0,
        full_s=0,
        rate=spend.rate,
        store=Store.OFF,
    )
