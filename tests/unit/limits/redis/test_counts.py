"""What a limiter in Redis counts."""

from __future__ import annotations

from authz.limits.redis.counts import Counts
from authz.limits.redis.session import Unanswered
from authz.model.latency import BUCKETS_US


def test_each_call_of_a_round_trip_is_counted_by_what_came_of_it_and_the_trip_once() -> None:
    counts = Counts()
    counts.trip([[1, 2], Unanswered("timeout"), []], 90)
    counts.trip([Unanswered("timeout")], 20_000)
    assert counts.calls == {"answered": 2, "timeout": 2}
    assert sum(counts.trips.counts) == 2
    assert counts.trips.counts[BUCKETS_US.index(100)] == 1
    assert counts.trips.sum_us == 20_090
