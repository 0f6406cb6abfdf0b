"""What every store of buckets keeps, whatever it is: checks must not tell one from another.

Rates of one a day refill nothing that a test could notice, so what is counted is exact; where time counts,
both ends of each question are timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import floor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.limits.memory import MemoryLimiter
from authz.limits.store import Limiter
from authz.model.limit import Rate, Spend
from tests.support.spending import Wanting
from tests.support.stores import KINDS, Place, ask, at_once, draw, place, seconds

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def limiter(kept: Place) -> Iterator[Limiter]:
    with kept.limiter() as made:
        yield made


class Caller:
    """A customer whom nobody else in this test run is, with buckets of its own."""

    def __init__(self) -> None:
        self.name = f"customer-{next(_numbers)}"

    def want(
        self,
        limit: str = "per-key",
        cost: float = 1.0,
        burst: float = 10.0,
        rate: float = 1 / 86400,
        whose: str = "",
    ) -> Spend:
        """One bucket of this customer; `whose` is the rest of its name."""
        bucket = (limit, "ns", self.name, whose)
        return Spend(limit, bucket, Rate(rate, burst, 86400), cost, ("customer", "ns", self.name))


@pytest.fixture
def caller() -> Caller:
    return Caller()


def passed(limiter: Limiter, *spends: Spend) -> bool:
    return all(bucket.passed for bucket in draw(limiter, *spends))


# --- one bucket


def test_a_fresh_bucket_gives_exactly_its_burst_and_counts_down(limiter: Limiter, caller: Caller) -> None:
    told = [draw(limiter, caller.want())[0] for _ in range(12)]
    assert [one.passed for one in told] == [True] * 10 + [False] * 2
    assert [one.remaining for one in told] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert [one.full_s > 0 for one in told] == [True] * 12


def test_the_answer_names_its_limit_store_and_rate(limiter: Limiter, caller: Caller, kept: Place) -> None:
    spend = caller.want("per-route")
    told = draw(limiter, spend)[0]
    assert (told.limit, told.store, told.rate, told.failed) == ("per-route", kept.store, spend.rate, False)


@pytest.mark.parametrize(("cost", "fits"), [(0.25, 8), (0.1, 20), (2.0, 1), (1.5, 1), (1e-6, 50)])
def test_a_cost_is_taken_as_it_is(limiter: Limiter, caller: Caller, cost: float, fits: int) -> None:
    """Ten tenths of a token are one token: what rounding costs a caller is below a thousandth."""
    told = [passed(limiter, caller.want(burst=2.0, cost=cost)) for _ in range(min(fits + 1, 50))]
    if cost == 0.1:
        assert told[:19] == [True] * 19
        assert not passed(limiter, caller.want(burst=2.0, cost=0.2))
    else:
        assert told == [True] * fits + [False] * (len(told) - fits)


def test_a_cost_of_nothing_passes_an_empty_bucket(limiter: Limiter, caller: Caller) -> None:
    assert passed(limiter, caller.want(burst=1.0))
    assert passed(limiter, caller.want(burst=1.0, cost=0.0))
    assert not passed(limiter, caller.want(burst=1.0))


@pytest.mark.parametrize("cost", [10.000001, 11.0, 1e9, 1e300])
def test_a_cost_above_the_burst_never_passes_promises_nothing_and_spends_nothing(
    limiter: Limiter, caller: Caller, cost: float
) -> None:
    other, told = draw(limiter, caller.want("other"), caller.want(cost=cost))
    assert (told.passed, told.retry_ms, other.passed) == (False, -1, True)
    assert [draw(limiter, caller.want(name))[0].remaining for name in ("per-key", "other")] == [9, 9]


def test_the_whole_burst_can_be_drawn_at_once(limiter: Limiter, caller: Caller) -> None:
    assert draw(limiter, caller.want(cost=10.0))[0].remaining == 0
    assert not passed(limiter, caller.want())


def test_a_refusal_says_when_to_come_back_and_that_is_true(limiter: Limiter, caller: Caller) -> None:
    """Whoever is answered before that is refused; whoever asks after it passes."""
    spend = caller.want(burst=1.0, rate=4.0)
    assert passed(limiter, spend)
    asked_s = seconds()
    refused = draw(limiter, spend)[0]
    answered_s = seconds()
    assert not refused.passed
    assert 0 < refused.retry_ms <= 250
    while True:
        now_s = seconds()
        if passed(limiter, spend):
            break
        assert now_s < answered_s + refused.retry_ms / 1000
    assert seconds() >= asked_s + (refused.retry_ms - 1) / 1000


def test_tokens_come_back_at_the_rate_and_no_faster(limiter: Limiter, caller: Caller) -> None:
    """Asked without a pause: the number that passes lies between what both ends of the time allow."""
    spend = caller.want(burst=2.0, rate=50.0)
    began_s = seconds()
    assert passed(limiter, spend)
    first_s = seconds()
    granted, asked_s = 1, first_s
    while asked_s < began_s + 0.4:
        asked_s = seconds()
        granted += passed(limiter, spend)
    assert granted <= 2 + 50 * (seconds() - began_s)
    assert granted >= floor(50 * (asked_s - first_s) * 0.9)


# --- several buckets


@pytest.mark.parametrize("depth", range(1, 7))
def test_all_nested_buckets_are_drawn_from(limiter: Limiter, caller: Caller, depth: int) -> None:
    nested = [caller.want(f"limit-{number}", cost=float(number)) for number in range(depth)]
    assert [one.remaining for one in draw(limiter, *nested)] == [10 - number for number in range(depth)]
    assert [draw(limiter, one)[0].remaining for one in nested] == [10 - 2 * number for number in range(depth)]


@pytest.mark.parametrize(("depth", "empty"), [(depth, at) for depth in range(1, 7) for at in range(depth)])
def test_a_refused_check_spends_nothing_of_any_bucket(
    limiter: Limiter, caller: Caller, depth: int, empty: int
) -> None:
    nested = [caller.want(f"limit-{number}") for number in range(depth)]
    assert passed(limiter, nested[empty]._replace(cost=10.0))
    told = draw(limiter, *nested)
    assert [one.passed for one in told] == [number != empty for number in range(depth)]
    assert [one.retry_ms > 0 for one in told] == [number == empty for number in range(depth)]
    others = [one for number, one in enumerate(nested) if number != empty]
    assert [draw(limiter, one)[0].remaining for one in others] == [9] * (depth - 1)


def test_keys_of_one_customer_share_its_bucket_and_nothing_else(limiter: Limiter, caller: Caller) -> None:
    def both(key: str) -> bool:
        return passed(
            limiter, caller.want("per-key", burst=3.0, whose=key), caller.want("per-customer", burst=5.0)
        )

    assert [both("k1") for _ in range(4)] == [True, True, True, False]
    assert [both("k2") for _ in range(3)] == [True, True, False]
    assert draw(limiter, caller.want("per-key", burst=3.0, whose="k2"))[0].remaining == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b_c"), ("a_b", "c")),
        (("a:b", "c"), ("a", "b:c")),
        (("", "ab"), ("ab", "")),
        (("é", "x"), ("e", "x")),
        (("\udcff", "x"), ("\udcfe", "x")),
        (("x", "\0"), ("x", "")),
        (("}{", "x"), ("{}", "x")),
        (("y" * 8000 + "1", "x"), ("y" * 8000 + "2", "x")),
    ],
)
def test_no_two_names_are_one_bucket(
    limiter: Limiter, caller: Caller, one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    for parts in (one, other):
        spend = caller.want(burst=1.0)
        spend = spend._replace(bucket=(*spend.bucket, *parts))
        assert [passed(limiter, spend) for _ in range(2)] == [True, False]


# --- rates that change, and rates of some


def test_a_changed_rate_is_in_effect_at_once_and_debt_keeps_its_meaning(
    limiter: Limiter, caller: Caller
) -> None:
    assert passed(limiter, caller.want(cost=10.0))
    assert not passed(limiter, caller.want())
    larger = [passed(limiter, caller.want(burst=13.0)) for _ in range(4)]
    assert larger == [True, True, True, False]
    assert not passed(limiter, caller.want(burst=5.0))
    assert passed(limiter, caller.want(burst=13.0, rate=1e6))


def test_a_slower_rate_is_in_effect_at_once(limiter: Limiter, caller: Caller) -> None:
    assert passed(limiter, caller.want(cost=10.0, rate=5.0))
    told = draw(limiter, caller.want(rate=0.1))[0]
    assert not told.passed
    assert told.retry_ms > 5000


def test_a_rate_of_ones_own_is_nobody_elses(limiter: Limiter) -> None:
    plain, gold = Caller(), Caller()
    told = [(passed(limiter, plain.want(burst=2.0)), passed(limiter, gold.want(burst=4.0))) for _ in range(5)]
    assert [sum(column) for column in zip(*told, strict=True)] == [2, 4]


# --- shadow


def test_what_is_tried_in_shadow_takes_nothing_from_what_is_enforced(
    limiter: Limiter, caller: Caller
) -> None:
    spend = caller.want(burst=2.0)
    trial = spend._replace(bucket=("shadow/" + spend.bucket[0], *spend.bucket[1:]))
    assert [draw(limiter, trial, shadow=True)[0].passed for _ in range(3)] == [True, True, False]
    assert [passed(limiter, spend) for _ in range(3)] == [True, True, False]


# --- batches, and callers at once


def test_each_check_of_a_batch_is_all_or_nothing_by_itself_and_in_order(
    limiter: Limiter, caller: Caller
) -> None:
    """In order as far as they differ: those that ask for the same may go together."""
    checks = ask(
        limiter,
        Wanting(caller.want(cost=2.0)),
        Wanting(caller.want(cost=7.0), caller.want("other", burst=1.0)),
        Wanting(caller.want(cost=1.5)),
        Wanting(caller.want("other", burst=1.0)),
        Wanting(caller.want("other", burst=2.0), caller.want(cost=1.25)),
        Wanting(caller.want(cost=1.0)),
    )
    assert [check.passed for check in checks] == [True, True, False, False, False, True]


def test_checks_that_ask_for_the_same_are_granted_in_order(limiter: Limiter, caller: Caller) -> None:
    spends = (caller.want(burst=20.0), caller.want("other", burst=100.0, cost=2.0))
    checks = ask(limiter, *[Wanting(*spends) for _ in range(50)])
    assert [check.passed for check in checks] == [True] * 20 + [False] * 30
    left = [tuple(one.remaining for one in check.spent or ()) for check in checks]
    assert left == [(19 - n, 98 - 2 * n) for n in range(20)] + [(0, 60)] * 30


def test_a_batch_larger_than_any_call_is_settled_whole(limiter: Limiter) -> None:
    callers = [Caller() for _ in range(300)]
    checks = ask(limiter, *[Wanting(each.want(), each.want("other", burst=1.0)) for each in callers * 2])
    assert [check.passed for check in checks] == [True] * 300 + [False] * 300


def test_five_hundred_callers_at_once_get_one_token_once(limiter: Limiter, caller: Caller) -> None:
    """Each brings a check of its own, alone or with others, and nested in a bucket with room."""
    spends = [(caller.want(burst=1.0), caller.want("roomy", burst=1000.0)) for _ in range(500)]
    granted: list[bool] = []

    def call(number: int) -> None:
        mine = spends[number::20]
        whole = ask(limiter, *[Wanting(*each) for each in mine[:15]])
        granted.extend(check.passed for check in whole)
        granted.extend(passed(limiter, *each) for each in mine[15:])

    at_once(20, call)
    assert (len(granted), sum(granted)) == (500, 1)
    assert draw(limiter, caller.want("roomy", burst=1000.0))[0].remaining == 998


# --- the same everywhere


@st.composite
def batches(draw_: st.DrawFn) -> list[list[list[tuple[int, float]]]]:
    """Batches of checks; each check is a list of bucket and cost, in quarters of a token.

    No two of a batch ask for the same: those may go together, before others between them.
    """
    cost = st.integers(0, 24).map(lambda quarters: quarters / 4)
    check = st.lists(st.tuples(st.integers(0, 5), cost), min_size=1, max_size=6, unique_by=lambda one: one[0])
    return draw_(st.lists(st.lists(check, min_size=1, max_size=6, unique_by=tuple), min_size=1, max_size=5))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=batches())
def test_every_store_says_the_same(limiter: Limiter, trace: list[list[list[tuple[int, float]]]]) -> None:
    """Whoever draws from nested buckets gets what a limiter in memory gives whose clock stands still."""
    caller, still = Caller(), MemoryLimiter(lambda: 0)
    for batch in trace:
        spends = [[caller.want(f"limit-{at}", cost, burst=5.0) for at, cost in check] for check in batch]
        told = ask(limiter, *[Wanting(*each) for each in spends])
        expected = ask(still, *[Wanting(*each) for each in spends])
        for found, right in zip(told, expected, strict=True):
            assert found.passed == right.passed
            if right.passed:
                assert [one.remaining for one in found.spent or ()] == [
                    one.remaining for one in right.spent or ()
                ]


# --- several processes


@pytest.fixture
def other(kept: Place) -> Iterator[Limiter]:
    """Another process at the same store."""
    if not kept.shared:
        pytest.skip("a process shares its memory with nobody")
    with kept.limiter() as made:
        yield made


def test_processes_draw_from_one_bucket(limiter: Limiter, other: Limiter, caller: Caller) -> None:
    told = [draw(each, caller.want())[0] for each in [limiter, other] * 6]
    assert [one.passed for one in told] == [True] * 10 + [False] * 2
    assert [one.remaining for one in told[:10]] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_a_token_that_two_processes_want_at_once_is_given_once(limiter: Limiter, other: Limiter) -> None:
    for _ in range(20):
        spend = Caller().want(burst=1.0)
        granted: list[bool] = []

        def call(number: int, spend: Spend = spend, granted: list[bool] = granted) -> None:
            granted.append(passed((limiter, other)[number % 2], spend))

        at_once(6, call)
        assert (len(granted), sum(granted)) == (6, 1)


def test_a_process_that_starts_later_finds_what_is_owed(kept: Place, other: Limiter, caller: Caller) -> None:
    assert passed(other, caller.want(cost=10.0))
    with kept.limiter() as late:
        assert not passed(late, caller.want())


def test_keyspaces_never_meet(kept: Place, other: Limiter, caller: Caller) -> None:
    assert passed(other, caller.want(cost=10.0))
    with kept.limiter("test-elsewhere") as elsewhere:
        assert draw(elsewhere, caller.want())[0].remaining == 9
