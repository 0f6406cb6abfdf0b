"""How long things take: what whoever counts and whoever shows it agree on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

# Upper bounds in microseconds. A check takes 25, a round trip to Redis 100 to 500; what waits, waits up to
# Envoy's timeout: 200 ms by default.
BUCKETS_US = (
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
)


class Durations:
    """How often something took how long. One thread adds; any may read."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_US) + 1)  # the last is beyond every bound
        self.sum_us = 0

    def add(self, took_us: int) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS_US, took_us)] += 1
        self.sum_us += took_us


class Exemplar(NamedTuple):
    """A traced check that shows what a bucket of the histogram is made of."""

    trace_id: str
    duration_us: int
    time_us: int  # wall clock, microseconds since 1970


def later(ours: Sequence[Exemplar | None], theirs: Sequence[Exemplar | None]) -> list[Exemplar | None]:
    """Return of each bucket the example that is the later one."""
    return [
        one if other is None or (one is not None and one.time_us >= other.time_us) else other
        for one, other in zip(ours, theirs, strict=True)
    ]
