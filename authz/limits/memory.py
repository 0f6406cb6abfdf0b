"""Buckets in this process: exact, bounded, and shared by nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from threading import Lock

from authz.limits.bucket import settle, wait_us
from authz.limits.store import S
from authz.model.limit import Rate, Spend, Spent, Store

# One bucket takes about 400 bytes with its name: 100,000 are 40 MB at the very worst.
MAX_BUCKETS = 100_000

# Old buckets looked at per new one. Two would keep pace with any flood; four also shrinks after it.
_SWEEP = 4


_Held = tuple[float, int, float]  # debt (tokens), when (us), rate (tokens/s)
_FULL: _Held = (0.0, 0, 1.0)  # the state of a bucket that nobody has drawn from
_MEMORY = Store.MEMORY
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
        self._buckets: dict[tuple[str, ...], _Held] = {}
        self._oldest: deque[tuple[str, ...]] = deque()
        self._lock = Lock()  # once per batch, not per check
        self._shadow: MemoryLimiter | None = None  # made on first use

    def __len__(self) -> int:
        return len(self._buckets) + (len(self._shadow) if self._shadow is not None else 0)

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle every waiting check at once, then hand them on."""
        now_us = self._clock()
        with self._lock:
            for check in waiting:
                check.settle(self.draw(check.spends, now_us))
        then(waiting)

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Draw from buckets that have as much room again, apart: a trial never fills that of the others."""
        with self._lock:
            if self._shadow is None:
                self._shadow = MemoryLimiter(self._clock, self._max_buckets)
        self._shadow.spend(trials, then)

    def draw(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...]:
        """Draw from all buckets of one check, or from none."""
        found = []
        passed = True
        for spend in spends:
            _, bucket, rate, cost = spend
            held = self._buckets.get(bucket)
            if held is None:
                bucket, held = self._unheld(spend, now_us)
            debt = settle(held[0], now_us - held[1], rate.rate_per_s)
            if debt + cost > rate.burst_tokens and debt + cost > _room(rate, cost):
                passed = False
            found.append((spend, bucket, debt))
        if not passed:
            return tuple([_refused(spend, debt) for spend, _, debt in found])
        return tuple(
            [self._charged(spend, bucket, debt + spend.cost, now_us) for spend, bucket, debt in found]
        )

    def _unheld(self, spend: Spend, now_us: int) -> tuple[tuple[str, ...], _Held]:
        """Return the name and state of the bucket that answers for one that does not exist yet."""
        if len(self._buckets) < self._max_buckets or self._sweep(now_us):
            return spend.bucket, _FULL
        overflow = (spend.limit,)  # a real bucket's name is longer: see Spend.bucket
        return overflow, self._buckets.get(overflow, _FULL)

    def _charged(self, spend: Spend, bucket: tuple[str, ...], debt: float, now_us: int) -> Spent:
        """Owe `debt` tokens from now on, and say so."""
        limit, _, rate, _ = spend
        rate_per_s = rate.rate_per_s
        if bucket in self._buckets or self._opened(bucket, debt, now_us):
            self._buckets[bucket] = (debt, now_us, rate_per_s)
        full_s = int(debt / rate_per_s) + 1 if debt > 0.0 else 0
        remaining = int(rate.burst_tokens - debt)
        if remaining < 0:  # a share let the cost of a whole burst pass
            remaining = 0
        return _new(Spent, (limit, True, remaining, 0, full_s, rate, _MEMORY))

    def _opened(self, bucket: tuple[str, ...], debt: float, now_us: int) -> bool:
        """Make room for a new bucket; a full one needs none."""
        if debt <= 0.0:
            return False
        self._sweep(now_us)
        self._oldest.append(bucket)
        return True

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

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Let every trial pass."""
        self.spend(trials, then)


def _room(rate: Rate, cost: float) -> float:
    """Return the burst for a cost: a check that fits the whole burst passes a full bucket of any share."""
    fits = rate.whole is not None and cost <= rate.whole.burst_tokens
    return max(rate.burst_tokens, cost) if fits else rate.burst_tokens


def _refused(spend: Spend, debt: float) -> Spent:
    """Say how one bucket stands of which nothing was taken, since it or another had no room."""
    rate = spend.rate
    excess = debt + spend.cost - _room(rate, spend.cost)
    passed = excess <= 0.0
    return Spent(
        spend.limit,
        passed,
        max(0, int(rate.burst_tokens - debt)),
        0 if passed else _retry_ms(excess, spend),
        int(debt / rate.rate_per_s) + 1 if debt > 0.0 else 0,
        rate,
        _MEMORY,
    )


def _retry_ms(excess: float, spend: Spend) -> int:
    if spend.cost > _room(spend.rate, spend.cost):
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
