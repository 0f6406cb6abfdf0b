"""The arithmetic of one bucket, against numbers worked out by hand and against exact fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from authz.limits.bucket import QUANTA_PER_TOKEN, settle, wait_us

QUANTUM = Fraction(1, QUANTA_PER_TOKEN)


def test_a_debt_shrinks_by_the_rate() -> None:
    assert settle(10.0, 500_000, 8.0) == 6.0


def test_a_debt_never_falls_below_zero() -> None:
    assert settle(1.0, 10_000_000, 8.0) == 0.0


def test_a_clock_that_went_back_refills_nothing() -> None:
    assert settle(3.0, -5_000_000, 8.0) == 3.0


def test_waiting_is_rounded_up() -> None:
    assert wait_us(1.0, 3.0) == 333_334


def test_nothing_missing_means_no_wait() -> None:
    assert wait_us(0.0, 3.0) == 0


@given(
    debt=st.integers(0, 10**6),
    elapsed_us=st.integers(0, 10**12),
    rate=st.fractions(Fraction(1, 86400), 10**6),
)
def test_a_settled_debt_is_never_less_than_the_exact_one(debt: int, elapsed_us: int, rate: Fraction) -> None:
    exact = max(Fraction(0), debt - elapsed_us * rate / 10**6)
    settled = Fraction(settle(float(debt), elapsed_us, float(rate)))

    slack = Fraction(debt + 1) / 2**50  # what doubles lose in the refill itself
    assert exact - slack <= settled <= exact + QUANTUM + slack


@given(excess=st.floats(1e-6, 1e6), rate=st.floats(1e-5, 1e6))
def test_after_the_wait_the_excess_is_gone(excess: float, rate: float) -> None:
    refilled = wait_us(excess, rate) * Fraction(rate) / 10**6
    assert refilled >= Fraction(excess) * (1 - Fraction(1, 2**50))
