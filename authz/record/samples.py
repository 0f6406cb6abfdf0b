"""Numbers on their way to the page: by metric, each with the values of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from authz.model.latency import BUCKETS_US

BOUNDS = (*(str(bound / 1_000_000) for bound in BUCKETS_US), "+Inf")

Sample = tuple[tuple[str, ...], float]  # values of the labels, and the number
Samples = Mapping[str, Sequence[Sample]]  # by metric; of a histogram: its counts by bound, and its `SUM`

SUM = "sum"


def durations(counts: Sequence[int], sum_us: int) -> list[Sample]:
    """Return a histogram as samples: how many lie below each bound and above the one before, and the sum."""
    by_bound = zip(BOUNDS, counts, strict=True)
    return [*(((bound,), count) for bound, count in by_bound), ((SUM,), sum_us / 1_000_000)]
