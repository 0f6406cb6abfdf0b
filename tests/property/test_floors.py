"""Servers that forget: what sidecars have seen keeps a limit, whatever a fail-over lost.

The server is a model of a few lines; what sidecars remember is the real thing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from authz.limits.bucket import settle
from authz.limits.seen import Seen
from authz.model.limit import Rate, Spend
from tests.support.spending import teach

OUTWARD_US = 5_000  # from a question to the moment at which its server answers it
SECOND_US = 1_000_000


class Bucket(NamedTuple):
    """What a server keeps."""

    debt: float = 0.0
    stamp_us: int = 0


class Server:
    """One bucket, replicated now and then; behind a fail-over it is as it was at some earlier time."""

    def __init__(self) -> None:
        self.bucket = Bucket()
        self.replicated = [Bucket()]
        self.generation = 1

    def spend(self, spend: Spend, floor: float, now_us: int) -> tuple[bool, float]:
        debt = settle(self.bucket.debt, now_us - self.bucket.stamp_us, spend.rate.rate_per_s)
        debt = max(debt, floor)
        passed = debt + spend.cost <= spend.rate.burst_tokens
        self.bucket = Bucket(debt + spend.cost if passed else debt, now_us)
        return passed, self.bucket.debt

    def fail_over(self, lost: int) -> None:
        """Lose the last writes; all, where there were no more."""
        del self.replicated[max(1, len(self.replicated) - lost) :]
        self.bucket = self.replicated[-1]
        self.generation += 1


class Step(NamedTuple):
    """What happens next."""

    after_us: int
    sidecar: int
    lost: int | None  # a fail-over that loses so many writes; None: a check
    outward_us: int


STEPS = st.lists(
    st.builds(
        Step,
        after_us=st.sampled_from((0, 500, 20_000, 300_000, 2 * SECOND_US)),
        sidecar=st.integers(0, 3),
        lost=st.none() | st.none() | st.none() | st.integers(0, 50),
        outward_us=st.integers(0, OUTWARD_US),
    ),
    max_size=150,
)


class Told(NamedTuple):
    """What came of it all."""

    granted: int
    took_us: int
    fail_overs: int


def run(steps: list[Step], sidecars: int, rate: Rate, *, remember: bool = True) -> Told:
    """Let sidecars spend one token a check."""
    server, spend = Server(), Spend("l", ("l", "ns", "k"), rate, 1.0)
    tables = [Seen() for _ in range(sidecars)]
    now_us = granted = 0
    for step in steps:
        now_us += step.after_us
        if step.lost is not None:
            server.fail_over(step.lost)
            continue
        seen, sent_us = tables[step.sidecar % sidecars], now_us
        if seen.refusal((spend,), sent_us) is not None:
            continue
        floor = seen.floor(spend, sent_us, server.generation) if remember else 0.0
        now_us += step.outward_us
        passed, debt = server.spend(spend, floor, now_us)
        server.replicated.append(server.bucket)
        teach(seen, spend.bucket, debt, sent_us, rate, server.generation)
        granted += passed
    return Told(granted, now_us, sum(step.lost is not None for step in steps))


RATES = st.builds(Rate, st.sampled_from((0.01, 1.0, 10.0, 333.0)), st.sampled_from((1.0, 5.0, 40.0)))


def most(rate: Rate, time_us: int) -> Fraction:
    """What a bucket gives out in a time, beginning full."""
    return Fraction(rate.burst_tokens) + Fraction(rate.rate_per_s) * time_us / SECOND_US


@given(STEPS, RATES)
def test_a_lone_sidecar_keeps_its_limits_through_any_fail_over(steps: list[Step], rate: Rate) -> None:
    """But for what refills while its question travels, once for each."""
    told = run(steps, 1, rate)
    assert told.granted <= most(rate, told.took_us + told.fail_overs * OUTWARD_US)


@given(STEPS, RATES, st.integers(2, 4))
def test_a_fail_over_gives_away_one_burst_at_most(steps: list[Step], rate: Rate, sidecars: int) -> None:
    told = run(steps, sidecars, rate)
    assert told.granted <= most(rate, told.took_us) + told.fail_overs * Fraction(rate.burst_tokens)


@given(STEPS, RATES, st.integers(1, 4))
def test_what_is_remembered_refuses_nobody_whom_a_server_that_forgets_nothing_lets_pass(
    steps: list[Step], rate: Rate, sidecars: int
) -> None:
    kept = [step._replace(lost=0) if step.lost is not None else step for step in steps]
    assert run(kept, sidecars, rate) == run(kept, sidecars, rate, remember=False)


def test_without_floors_a_fail_over_fills_the_bucket() -> None:
    """The model forgets: what the first test asserts is the work of floors."""
    ask, forget = Step(0, 0, None, 0), Step(2 * SECOND_US, 0, 50, 0)
    steps = [*[ask] * 6, forget, *[ask] * 6]
    rate = Rate(0.01, 5.0)
    assert run(steps, 1, rate).granted == 5
    assert run(steps, 1, rate, remember=False).granted == 10
