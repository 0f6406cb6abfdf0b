"""What Redis last said of buckets: enough to refuse without asking, and to tell a server that forgot.

Only time lowers a debt, so what is left of one that was seen, had it been seen when the question was sent, is
never more than the truth. That lower bound serves three times:

    refusal   a bucket that surely has no room is not asked about again, for a second at most
    floor     a server that is new to us may have lost writes: once per bucket it is told what we know
    debt      while no server answers, a bucket of our own begins with its share of this, and not full

Entries carry the rate under which they were seen, so a changed policy set makes none of them wrong: a refusal
asks for the same rate and burst, a floor takes the faster of both rates. Nothing has to be forgotten with a
revision. What lowers a debt by hand (`authz limits reset`) is felt within the second; a floor may raise it
once more, since nobody tells a server that was told to forget from one that has forgotten.

SECURITY: nobody is granted more than a burst, so a floor, and what is owed in an outage, are never more. A
server that lied once must not, by our mouth, close a bucket at an honest one for years.
Source: "Exact mode" and "Outage" in the contract on limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from authz.limits.bucket import settle
from authz.limits.outcome import refused
from authz.model.limit import Rate, Spend, Spent, Store

REFUSE_US = 1_000_000  # what was seen longer ago refuses nobody

# Twice as many at most, each about 300 bytes with a name that nobody else holds: 30 MB at the very worst.
# A bucket that falls out costs a question to Redis, or a debt that starts at nothing; never a wrong answer.
ENTRIES_MAX = 50_000

_Bucket = tuple[str, ...]
_MIXED = -1  # no generation: entries are of several, or there is none yet

Spends = tuple[Spend, ...]
Found = tuple[Spends, Sequence[float]]  # buckets of a check, and the debt of each, in tokens
# Debt (tokens), when it was asked for (us), rate, generation, how long the answer took (us).
_Held = tuple[float, int, Rate, int, int]


class Seen:
    """Debts as they were last seen. One thread learns; any thread may ask, and takes no lock.

    INVARIANT: an entry is one value, replaced by one assignment, and so are the two tables.

    Args:
        entries_max: how many buckets the younger of two tables holds before it becomes the older one.
    """

    __slots__ = ("_entries_max", "_generation", "_old", "_young")

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._generation = _MIXED  # of everything that is kept
        self._young: dict[_Bucket, _Held] = {}
        self._old: dict[_Bucket, _Held] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def learn(self, found: Sequence[Found], sent_us: int, generation: int, trip_us: int = 0) -> None:
        """Keep what a server said of the buckets of many checks.

        Args:
            sent_us: ticks before the question was sent, not when the answer came.
            generation: of the connections, as it was then.
            trip_us: how long the answer took.
        """
        self._begin(generation)
        young = self._young
        for spends, debts in found:
            for spend, debt in zip(spends, debts, strict=True):
                young[spend.bucket] = (debt, sent_us, spend.rate, generation, trip_us)
        self._turn_over()

    def _begin(self, generation: int) -> None:
        if self._generation != generation:
            self._generation = _MIXED if len(self) else generation

    def _turn_over(self) -> None:
        if len(self._young) >= self._entries_max:
            self._old = self._young  # before it is emptied: who reads meanwhile finds it in either
            self._young = {}

    def forget(self, bucket: _Bucket) -> None:
        """Forget what a server said of a bucket: an operator has filled it up. Any thread may."""
        for table in (self._young, self._old):
            table.pop(bucket, None)

    def refusal(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...] | None:
        """Return what a check is told that surely has no room; None: ask Redis.

        A cost above the burst never passes, whatever was seen.
        """
        young, old = self._young, self._old
        for spend in spends:
            _, bucket, rate, cost, _, _ = spend
            held = young.get(bucket)
            if held is None and old:
                held = old.get(bucket)
            if held is None:
                if cost > rate.burst_tokens:
                    return self._told(spends, now_us)
            elif held[0] + cost > rate.burst_tokens and _is_full(held, spend, now_us):
                return self._told(spends, now_us)
        return None

    def floor(self, spend: Spend, now_us: int, generation: int) -> float:
        """Return the least debt that a bucket has, for a server of this generation that may not know it.

        0.0 where there is none, and where one of this generation has said itself what it knows.
        """
        held = self._find(spend.bucket)
        if held is None or held[3] == generation:
            return 0.0
        most = max(held[2].burst_tokens, spend.rate.burst_tokens)
        rate_per_s = max(held[2].rate_per_s, spend.rate.rate_per_s)
        return settle(min(held[0], most), now_us - held[1], rate_per_s)

    def floors_for(self, now_us: int, generation: int) -> Callable[[Spends], Sequence[float]] | None:
        """Return what tells the floors of each check for servers of this generation; None: there are none."""
        if self._generation == generation:
            return None
        return partial(self._floors, now_us=now_us, generation=generation)

    def _floors(self, spends: Spends, now_us: int, generation: int) -> Sequence[float]:
        """Return the `floor` of each bucket of a check; empty where there is none."""
        young, old = self._young, self._old
        for spend in spends:
            held = young.get(spend.bucket) or (old.get(spend.bucket) if old else None)
            if held is not None and held[3] != generation:
                return [self.floor(each, now_us, generation) for each in spends]
        return ()

    def debt(self, bucket: _Bucket, now_us: int) -> float:
        """Return what a bucket owes at least, in tokens; 0.0 where nothing was seen of it."""
        held = self._find(bucket)
        return settle(held[0], now_us - held[1], held[2].rate_per_s) if held is not None else 0.0

    def owed(self, bucket: _Bucket, now_us: int) -> float:
        """Return the same for whoever acts on it for longer than a second: never more than a burst."""
        held = self._find(bucket)
        if held is None:
            return 0.0
        return settle(min(held[0], held[2].burst_tokens), now_us - held[1], held[2].rate_per_s)

    def _most(self, bucket: _Bucket, now_us: int) -> float:
        """Return what a bucket owes at most, had nobody charged it since."""
        held = self._find(bucket)
        return settle(held[0], now_us - held[1] - held[4], held[2].rate_per_s) if held is not None else 0.0

    def _find(self, bucket: _Bucket) -> _Held | None:
        return self._young.get(bucket) or self._old.get(bucket)

    def _told(self, spends: tuple[Spend, ...], now_us: int) -> tuple[Spent, ...] | None:
        """Say how each bucket stands as far as we know: one that was never seen is told as full.

        Nobody is told to come back before there is room: the time that the answer took gives no tokens here.
        """
        told = tuple([refused(spend, self._most(spend.bucket, now_us), Store.REDIS) for spend in spends])
        # SECURITY: another thread may have learned better meanwhile, and passing means charged: nothing is.
        return None if all(spent.passed for spent in told) else told


def _is_full(held: _Held, spend: Spend, now_us: int) -> bool:
    """Tell whether what was seen a moment ago leaves no room for a spend."""
    debt, sent_us, rate, _, _ = held
    if spend.cost > spend.rate.burst_tokens:
        return True
    if now_us - sent_us > REFUSE_US or (rate is not spend.rate and rate != spend.rate):
        return False
    return settle(debt, now_us - sent_us, rate.rate_per_s) + spend.cost > rate.burst_tokens
