"""A load lets others have the interpreter."""

from __future__ import annotations

import sys

import pytest

from authz.snapshot.pace import (
    LONG,
    LONG_REST_S,
    PAUSE_US,
    REST_S,
    SWITCH_S,
    WORK_US,
    Pace,
    hurry,
    yielding,
)


class Clock:
    def __init__(self) -> None:
        self.now_us = 5

    def __call__(self) -> int:
        return self.now_us


def test_a_load_rests_once_it_has_worked_for_long_and_not_before() -> None:
    clock, rests = Clock(), list[float]()
    pace = Pace(clock, lambda _: rests.append(clock.now_us))
    pace()
    for _ in range(3 * WORK_US):
        clock.now_us += 1
        pace()
    assert len(rests) == 4


def test_a_rest_does_not_count_as_work() -> None:
    clock, rests = Clock(), list[float]()

    def rest(_: float) -> None:
        rests.append(clock.now_us)
        clock.now_us += 10 * WORK_US

    pace = Pace(clock, rest)
    pace()
    clock.now_us += WORK_US - 1
    pace()
    assert len(rests) == 1


def test_a_long_load_rests_longer_and_the_next_one_begins_anew() -> None:
    clock, rests = Clock(), list[float]()
    pace = Pace(clock, rests.append)
    for _ in range(LONG + 3):
        clock.now_us += WORK_US
        pace()
    assert rests == [REST_S] * LONG + [LONG_REST_S] * 3
    clock.now_us += PAUSE_US + WORK_US
    pace()
    assert rests[-1] == REST_S


def test_the_real_one_rests_and_a_hurry_does_not() -> None:
    hurry()
    Pace()()


def test_threads_take_turns_more_often_while_a_set_loads() -> None:
    before = sys.getswitchinterval()
    with yielding():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    assert sys.getswitchinterval() == pytest.approx(before)
