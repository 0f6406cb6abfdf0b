"""Buckets in this process: exact, bounded, and shared by nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import NamedTuple

from authz.limits.bucket import settle
from authz.limits.outcome import charged, refused, room
from authz.limits.store import S
from authz.model.limit import Spend, Spent, Store

# One bucket takes about 400 bytes with its name: 100,000 are 40 MB at the very worst.
MAX_BUCKETS = 100_000

# Old buckets looked at per new one. Two would keep pace with any flood; four also shrinks after it.
_SWEEP = 4

_Held = tuple[float, int, float]  # debt (tokens), when (us), rate (tokens/s)
_FULL: _Held = (0.0, 0, 1.0)  # the state of a bucket that nobody has drawn from


class Held(NamedTuple):
    """One bucket, as somebody finds it who looks and does not spend."""

    bucket: tuple[str, ...]  # see Spend.bucket; of one part: the overflow bucket of that limit
    debt: float  # tokens, when it was last drawn from
    elapsed_us: int  # since then
    rate_per_s: float  # at which it refills


class MemoryLimiter:
    """Token buckets in memory, for every judging thread of one process.

    When `max_buckets` is reached and no bucket is full again, callers that have none share one overflow
    bucket per limit. INVARIANT: a bucket in debt is never dropped, since dropping refills.

    Args:
        clock: microseconds of a monotonic clock; wall clock trouble changes nothing.
        max_buckets: how many buckets may exist.
        store: what these buckets are called in records and metrics.
    """

    def __init__(
        self, clock: Callable[[], int], max_buckets: int = MAX_BUCKETS, store: Store = Store.MEMORY
    ) -> None:
        self._clock = clock
        self._store = store
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
                self._shadow = MemoryLimiter(self._clock, self._max_buckets, self._store)
        self._shadow.spend(trials, then)

    def held(self) -> Iterator[Held]:
        """Look at every bucket, those in shadow too. Of 100,000 naming them keeps others for 1 ms."""
        for bucket in list(self._buckets):
            found = self.find(bucket)
            if found is not None:
                yield found
        if self._shadow is not None:
            yield from self._shadow.held()

    def find(self, bucket: tuple[str, ...]) -> Held | None:
        """Look at one bucket; None: it is full."""
        held = self._buckets.get(bucket)
        if held is not None:
            return Held(bucket, held[0], self._clock() - held[1], held[2])
        return self._shadow.find(bucket) if self._shadow is not None else None

    def forgive(self, bucket: tuple[str, ...]) -> bool:
        """Fill a bucket up, at an operator's word; return whether there was one."""
        with self._lock:
            held = self._buckets.get(bucket)
            if held is not None:
                # It stays until it is swept, since `_oldest` names each bucket that there is.
                self._buckets[bucket] = (0.0, self._clock(), held[2])
                return True
        return self._shadow.forgive(bucket) if self._shadow is not None else False

    def draw(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...]:
        """Draw from all buckets of one check, or from none."""
        found = []
        passed = True
        for spend in spends:
            bucket, rate, cost = spend.bucket, spend.rate, spend.cost
            held = self._buckets.get(bucket)
            if held is None:
                bucket, held = self._unheld(spend, now_us)
            debt = settle(held[0], now_us - held[1], rate.rate_per_s)
            if debt + cost > rate.burst_tokens and debt + cost > room(rate, cost):
                passed = False
            found.append((spend, bucket, debt))
        if not passed:
            return tuple([refused(spend, debt, self._store) for spend, _, debt in found])
        return tuple(
            [self._charged(spend, bucket, debt + spend.cost, now_us) for spend, bucket, debt in found]
        )

    def owe(self, spend: Spend, debt: float, now_us: int) -> None:
        """Have a bucket owe at least so much (tokens), as somebody else saw it who kept it before.

        Where there is no room for it nothing happens: strangers who share a bucket share no debt of his.
        """
        bucket, held = spend.bucket, self._buckets.get(spend.bucket)
        if held is None:
            bucket, held = self._unheld(spend, now_us)
        if bucket is spend.bucket and settle(held[0], now_us - held[1], spend.rate.rate_per_s) < debt:
            self._charged(spend, bucket, debt, now_us)

    def _unheld(self, spend: Spend, now_us: int) -> tuple[tuple[str, ...], _Held]:
        """Return the name and state of the bucket that answers for one that does not exist yet."""
        if len(self._buckets) < self._max_buckets or self._sweep(now_us):
            return spend.bucket, _FULL
        overflow = (spend.limit,)  # a real bucket's name is longer: see Spend.bucket
        return overflow, self._buckets.get(overflow, _FULL)

    def _charged(self, spend: Spend, bucket: tuple[str, ...], debt: float, now_us: int) -> Spent:
        """Owe `debt` tokens from now on, and say so."""
        if bucket in self._buckets or self._opened(bucket, debt, now_us):
            self._buckets[bucket] = (debt, now_us, spend.rate.rate_per_s)
        return charged(spend, debt, self._store)

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
