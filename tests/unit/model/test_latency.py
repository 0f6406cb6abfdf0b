"""How long things take, counted."""

from __future__ import annotations

from itertools import pairwise

import pytest

from authz.model.latency import BUCKETS_US, Durations


def test_the_bounds_ascend() -> None:
    assert all(lower < upper for lower, upper in pairwise(BUCKETS_US))


@pytest.mark.parametrize(("took_us", "bucket"), [(0, 0), (10, 0), (11, 1), (1_000_000, -2), (1_000_001, -1)])
def test_a_duration_falls_under_the_first_bound_that_is_not_below_it(took_us: int, bucket: int) -> None:
    durations = Durations()
    durations.add(took_us)
    assert durations.counts[bucket] == sum(durations.counts) == 1
    assert durations.sum_us == took_us
