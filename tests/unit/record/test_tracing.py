"""Which checks are traced, and how many at most."""

from __future__ import annotations

from collections import defaultdict

from authz.model.reason import Detail
from authz.model.request import Unreadable
from authz.model.trace import Steps
from authz.record.tracing import Tracing

TRACE, PARENT = "1" * 32, "3" * 16
SAMPLED = Unreadable(Detail.PATH_AMBIGUOUS, trace_id=TRACE, parent_span_id=PARENT, sampled=True)


class Bench:
    """Tracing with a clock that is set by hand."""

    def __init__(self, most_per_s: int = 100, seed: int | None = 1) -> None:
        self.now_us = 5_000_000
        self.counts: dict[str, int] = defaultdict(int)
        self.tracing = Tracing(lambda: self.now_us, most_per_s, self.counts, seed)

    def begin(self, times: int = 1) -> list[Steps | None]:
        tracer = self.tracing.turn(self.now_us)
        return [tracer.begin(call, SAMPLED) for call in range(times)]


def test_a_span_belongs_to_the_trace_of_whoever_asked() -> None:
    bench = Bench()
    (traced,) = bench.begin()
    assert traced is not None
    assert (traced.trace_id, traced.parent_span_id) == (TRACE, PARENT)
    assert [step.name for step in traced.taken] == ["received", "read"]


def test_span_ids_are_sixteen_digits_and_none_comes_twice() -> None:
    ids = {traced.span_id for traced in Bench(seed=None).begin(100) if traced}
    assert len(ids) == 100
    assert all(len(one) == 16 and int(one, 16) > 0 for one in ids)


def test_zero_is_no_id() -> None:
    bench = Bench()
    bench.tracing._bits = lambda _: 0
    (traced,) = bench.begin()
    assert traced is not None
    assert traced.span_id == "0000000000000001"


def test_no_more_spans_begin_than_a_second_brings() -> None:
    bench = Bench(most_per_s=100)
    assert sum(one is not None for one in bench.begin(250)) == 100
    assert dict(bench.counts) == {"traced": 100, "over_limit": 150}
    bench.now_us += 9_999
    assert bench.begin() == [None]
    bench.now_us += 1
    assert sum(one is not None for one in bench.begin(5)) == 1
    bench.now_us += 500_000
    assert sum(one is not None for one in bench.begin(100)) == 50


def test_a_long_silence_brings_no_more_than_a_seconds_worth() -> None:
    bench = Bench(most_per_s=3)
    bench.now_us += 86_400_000_000
    assert sum(one is not None for one in bench.begin(50)) == 3


def test_one_span_a_second_is_one_span_a_second() -> None:
    bench = Bench(most_per_s=1)
    began = 0
    for _ in range(100):  # ten seconds, looked at ten times in each
        began += sum(one is not None for one in bench.begin(2))
        bench.now_us += 100_000
    assert began == 10


def test_a_check_that_is_tried_again_has_one_span_and_costs_one() -> None:
    bench = Bench()
    tracer = bench.tracing.turn(bench.now_us)
    first, second = tracer.begin(7, SAMPLED), tracer.begin(7, SAMPLED)
    assert first is not None
    assert second is not None
    assert first.span_id == second.span_id
    assert bench.counts["traced"] == 1
    assert tracer.of(7) is second
    assert tracer.of(8) is None
