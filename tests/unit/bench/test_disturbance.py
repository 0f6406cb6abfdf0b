"""What is said of a disturbance, from what happened to each call."""

from __future__ import annotations

import pytest

from authz.bench.connection import BROKEN
from authz.bench.disturbance import Decided, Span, summed
from authz.bench.openloop import Sample

GONE = Span(10.0, 11.0)
PERMISSION_DENIED = 7


def calls(*odd: Sample) -> list[Sample]:
    """One call each 10 ms from 9 s to 14 s that takes a millisecond, and the odd ones."""
    return [*(Sample(9.0 + number / 100, 0.001, 0) for number in range(500)), *odd]


def decisions(alone: list[float], *redis: float) -> list[Decided]:
    return [Decided(when, alone=True) for when in alone] + [Decided(when, alone=False) for when in redis]


def test_only_calls_until_redis_decides_again_count() -> None:
    slow_before, slow, slow_after = Sample(9.5, 0.4, 0), Sample(11.4, 0.5, 0), Sample(12.5, 0.8, 0)
    decided = decisions([9.9, 10.1, 11.4], 9.0, 11.5, 12.0)
    found = summed("gone", 100, calls(slow_before, slow, slow_after), decided, GONE)
    assert found.slowest_ms == 500.0
    assert found.calls == 150 + 1 + 1  # both ends belong to it, and the slow one
    assert found.alone == 2  # one was alone before
    assert found.lasted_s == 1.0
    assert found.recovery_s == pytest.approx(0.5)


def test_a_late_answer_after_the_recovery_belongs_to_the_machine() -> None:
    found = summed("gone", 100, calls(), decisions([10.5, 12.5], 11.2, 13.0), GONE)
    assert (found.alone, found.later) == (1, 1)
    assert found.recovery_s == pytest.approx(0.2)


def test_redis_that_decides_before_the_end_has_not_recovered_yet() -> None:
    found = summed("gone", 100, calls(), decisions([10.5], 10.2, 11.1), GONE)
    assert found.recovery_s == pytest.approx(0.1)


def test_where_redis_never_decides_again_all_to_the_end_feel_it() -> None:
    found = summed("gone", 100, calls(), decisions([10.5, 13.98], 10.0), GONE)
    assert found.recovery_s == -1.0
    assert found.calls == 400
    assert (found.alone, found.later) == (2, 0)


def test_who_waits_when_it_begins_feels_it() -> None:
    found = summed("gone", 100, calls(Sample(9.99, 0.02, 0)), decisions([], 11.0), GONE)
    assert found.calls == 102
    assert found.slowest_ms == pytest.approx(20.0)


def test_refusals_and_lost_calls_are_told_apart() -> None:
    refused, lost = Sample(10.2, 0.02, PERMISSION_DENIED), Sample(10.3, 5.0, BROKEN)
    found = summed("gone", 100, calls(refused, lost), decisions([10.5], 11.0), GONE)
    assert (found.refused, found.errors) == (1, 1)
    assert found.slowest_ms == pytest.approx(20.0)  # what has no answer took no time


def test_the_slowest_hundredth_is_cut_off() -> None:
    found = summed("gone", 100, calls(Sample(10.5, 0.3, 0)), decisions([], 11.0), GONE)
    assert found.p99_ms == pytest.approx(1.0)
    assert found.slowest_ms == pytest.approx(300.0)
