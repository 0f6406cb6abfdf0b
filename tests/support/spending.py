"""Checks that want tokens, and what they are told: for limiters that are tried without a server."""

from __future__ import annotations

from collections.abc import Sequence

from authz.limits.redis.session import Reply, ScriptCall
from authz.limits.seen import Seen
from authz.model.limit import Rate, Spend, Spent

RATE = Rate(10.0, 20.0)


def spend(limit: str = "per-key", value: str = "k1", cost: float = 1.0, rate: Rate = RATE) -> Spend:
    """One bucket of a customer `acme`."""
    return Spend(limit, (limit, "ns", value), rate, cost, ("customer", "ns", "acme"))


class Wanting:
    """A check that waits for its tokens."""

    def __init__(self, *spends: Spend) -> None:
        self.spends = spends
        self.spent: tuple[Spent, ...] | None = None
        self.times = 0

    def settle(self, spent: tuple[Spent, ...]) -> None:
        self.spent = spent
        self.times += 1

    @property
    def passed(self) -> bool:
        """Whether all its buckets had room."""
        assert self.spent is not None
        return all(bucket.passed for bucket in self.spent)


class Scripted:
    """A session that answers what a test prepared, and keeps what it was asked."""

    def __init__(self, *replies: Sequence[Reply]) -> None:
        self.generation = 1
        self.up = True
        self.asked: list[Sequence[ScriptCall]] = []
        self.replies = list(replies)
        self.slots: dict[bytes, int] = {}
        self.distrusted: list[int] = []

    def distrust(self, slot: int) -> None:
        self.distrusted.append(slot)

    def slot(self, key: bytes) -> int:
        return self.slots.get(key, 0)

    def answers(self) -> bool:
        return self.up

    def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
        self.asked.append(calls)
        return self.replies.pop(0)

    def start(self) -> None:
        """Nothing to connect to."""

    def close(self) -> None:
        self.up = False


def teach(
    seen: Seen,
    bucket: tuple[str, ...],
    debt: float,
    sent_us: int,
    rate: Rate,
    generation: int,
    trip_us: int = 0,
) -> None:
    """Have one bucket seen."""
    seen.learn([((Spend(bucket[0], bucket, rate, 1.0),), (debt,))], sent_us, generation, trip_us)
