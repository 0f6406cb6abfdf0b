"""How long things take: what whoever counts and whoever shows it agree on."""

from __future__ import annotations

from bisect import bisect_left

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
