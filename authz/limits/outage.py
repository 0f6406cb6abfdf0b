"""What becomes of checks while the store of their buckets does not answer: what each limit says.

    local   a bucket in this process, with its part of rate and burst: one of as many as the fleet has members
    allow   passes, and nothing is counted
    deny    refuses, as `store_unavailable`

Still all or nothing: a check that one limit refuses takes no token of another. Where nobody knows how large
the fleet is, nobody knows what a part of it is: `local` then refuses as well.

A local bucket begins with its share of the debt that was last seen, not full: otherwise each outage, however
short, would hand out a burst. Those that an earlier outage left keep what they owe.
Source: "Outage" in the contract on limits.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from authz.limits.memory import MAX_BUCKETS, MemoryLimiter
from authz.limits.outcome import refused
from authz.limits.seen import Seen
from authz.model.limit import OnStoreError, Rate, Spend, Spent, Store, in_shadow

_LOCAL, _ALLOW, _DENY = OnStoreError.LOCAL, OnStoreError.ALLOW, OnStoreError.DENY
_STORE = Store.OUTAGE

# Rates of one set with its tiers and overrides; when they are more, they are divided anew.
_PARTS_MAX = 10_000

_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Outage:
    """Decides without a store, on whatever thread asks.

    Args:
        members: returns how many processes share each bucket; 0 where nobody knows.
        seen: what the store last said of buckets.
        clock: microseconds of a clock that never goes back; `decide` is handed the same.
        max_buckets: how many local buckets may exist, and as many again of limits in shadow.
    """

    def __init__(
        self, members: Callable[[], int], seen: Seen, clock: Callable[[], int], max_buckets: int = MAX_BUCKETS
    ) -> None:
        self._members = members
        self._seen = seen
        self.buckets = MemoryLimiter(clock, max_buckets, _STORE)  # of this process
        self._in_shadow = MemoryLimiter(clock, max_buckets, _STORE)  # takes no room from those enforced
        self._lock = Lock()
        self._parts: dict[
            int, tuple[Rate, Rate]
        ] = {}  # by identity: to hash a Rate takes longer than to divide
        self._divisor = 1

    def __len__(self) -> int:
        return len(self.buckets) + len(self._in_shadow)

    def decide(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...]:
        """Decide about all buckets of one check; charges all local ones or none."""
        members = self._members()
        with self._lock:
            local: list[Spend] = []
            for spend in spends:
                if spend.on_store_error is _LOCAL and members > 0:
                    local.append(self._mine(spend, members))
                elif spend.on_store_error is not _ALLOW:
                    return tuple([self._unspent(spend, members, now_us) for spend in spends])
            drawn = self._draw(tuple(local), members, now_us)
            if len(drawn) == len(spends):
                return drawn
            rest = iter(drawn)
            return tuple([_uncounted(one) if one.on_store_error is _ALLOW else next(rest) for one in spends])

    def _draw(self, mine: tuple[Spend, ...], members: int, now_us: int) -> tuple[Spent, ...]:
        if not mine:
            return ()
        buckets = self._in_shadow if in_shadow(mine[0].bucket) else self.buckets  # a trial is one bucket
        for spend in mine:
            debt = self._seen.owed(spend.bucket, now_us)
            if debt > 0.0:
                buckets.owe(spend, debt / members, now_us)
        return buckets.draw(mine, now_us)

    def _unspent(self, spend: Spend, members: int, now_us: int) -> Spent:
        """Say of one bucket why the check is refused, or how it stood when somebody last saw it."""
        if spend.on_store_error is _DENY or (spend.on_store_error is _LOCAL and members <= 0):
            return Spent(
                spend.limit,
                passed=False,
                remaining=0,
                retry_ms=0,
                full_s=0,
                rate=spend.rate,
                store=_STORE,
                failed=True,
            )
        if spend.on_store_error is _ALLOW:
            return _uncounted(spend)
        mine = self._mine(spend, members)
        return refused(mine, self._seen.owed(spend.bucket, now_us) / members, _STORE)

    def _mine(self, spend: Spend, members: int) -> Spend:
        """Return a spend at this process's part of the rate, which is divided once."""
        limit, bucket, rate, cost, caller, how = spend
        if members != self._divisor or len(self._parts) >= _PARTS_MAX:
            self._parts.clear()
            self._divisor = members
        known = self._parts.get(id(rate))
        if known is None or known[0] is not rate:
            known = self._parts[id(rate)] = (rate, rate.share(members))
        return _new(Spend, (limit, bucket, known[1], cost, caller, how))


def _uncounted(spend: Spend) -> Spent:
    """Let a check pass of which nothing is counted."""
    return Spent(
        spend.limit,
        passed=True,
        remaining=int(spend.rate.burst_tokens),
        retry_ms=0,
        full_s=0,
        rate=spend.rate,
        store=_STORE,
    )
