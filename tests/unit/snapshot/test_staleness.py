"""How old a set is, by a clock that is passed in."""

from __future__ import annotations

import pytest

from authz.snapshot.staleness import Staleness

S = 1_000_000


def test_before_anything_is_in_force_nothing_is_old() -> None:
    made = Staleness(10 * S, 5 * S)
    assert made.age_us(10**12) == 0
    assert not made.stale(10**12)


def test_while_the_directories_say_the_same_nothing_is_old() -> None:
    made = Staleness(10 * S, 5 * S)
    for now_s in range(0, 100, 5):
        made.agree(now_s * S)
        assert made.age_us(now_s * S + 5 * S) == 0


def test_it_ages_from_when_it_was_last_known_to_be_right() -> None:
    made = Staleness(10 * S, 5 * S)
    made.agree(100 * S)
    made.differ(104 * S)
    made.differ(108 * S)
    assert made.age_us(108 * S) == 8 * S
    assert not made.stale(110 * S - 1)
    assert made.stale(110 * S)
    made.agree(111 * S)
    assert made.age_us(111 * S) == 0


def test_when_nobody_looks_for_long_it_ages_too() -> None:
    made = Staleness(10 * S, 5 * S)
    made.agree(100 * S)
    assert made.age_us(105 * S) == 0
    assert made.age_us(105 * S + 1) == 5 * S + 1
    assert made.stale(110 * S)


def test_what_an_earlier_life_kept_is_as_old_as_it_is() -> None:
    made = Staleness(10 * S, 5 * S)
    made.differ(-50 * S)
    assert made.age_us(3 * S) == 53 * S
    assert made.stale(3 * S)


@pytest.mark.parametrize("age_s", [0, 1, 10**9])
def test_without_a_bound_nothing_is_ever_stale(age_s: int) -> None:
    made = Staleness(0, 5 * S)
    made.differ(0)
    assert not made.stale(age_s * S)


def test_a_clock_that_is_read_a_little_late_gives_no_negative_age() -> None:
    made = Staleness(10 * S, 5 * S)
    made.differ(5 * S)
    assert made.age_us(4 * S) == 0
