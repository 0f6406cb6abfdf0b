"""How long things take, counted."""

from __future__ import annotations

from itertools import pairwise

import pytest

from authz.model.latency import BUCKETS_US, Durations, Exemplar, later


def test_the_bounds_ascend() -> None:
    assert all(lower < upper for lower, upper in pairwise(BUCKETS_US))


@pytest.mark.parametrize(("took_us", "bucket"), [(0, 0), (10, 0), (11, 1), (1_000_000, -2), (1_000_001, -1)])
def test_a_duration_falls_under_the_first_bound_that_is_not_below_it(took_us: int, bucket: int) -> None:
    durations = Durations()
    durations.add(took_us)
    assert durations.counts[bucket] == sum(durations.counts) == 1
    assert durations.sum_us == took_us


def test_of_two_examples_of_a_bucket_the_later_one_stands() -> None:
    early, late = Exemplar("1" * 32, 20, 1_000), Exemplar("2" * 32, 21, 2_000)
    ours, theirs = [early, late, early, None, None], [late, early, None, early, None]
    assert later(ours, theirs) == later(theirs, ours) == [late, late, early, early, None]
