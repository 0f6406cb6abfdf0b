"""Buckets in memory: nested, all or nothing, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.limits.memory import MemoryLimiter, NoLimiter
from authz.model.limit import Rate, Spend, Spent, Store


class Waiting:
    """A check that waits for its tokens."""

    def __init__(self, *spends: Spend) -> None:
        self.spends = spends
        self.spent: tuple[Spent, ...] = ()

    def settle(self, spent: tuple[Spent, ...]) -> None:
        self.spent = spent

    @property
    def passed(self) -> bool:
        return all(bucket.passed for bucket in self.spent)


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us

    def pass_ms(self, ms: int) -> None:
        self.now_us += ms * 1000


def want(
    limit: str = "per-key", who: str = "k1", rate: float = 10, burst: float = 10, cost: float = 1
) -> Spend:
    return Spend(limit, (limit, "example", who), Rate(rate, burst), cost)


def ask(limiter: MemoryLimiter, *spends: Spend) -> Waiting:
    check = Waiting(*spends)
    limiter.spend([check], lambda _: None)
    return check


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> MemoryLimiter:
    return MemoryLimiter(clock)


def test_a_fresh_bucket_gives_exactly_its_burst(limiter: MemoryLimiter) -> None:
    assert [ask(limiter, want()).passed for _ in range(12)] == [True] * 10 + [False] * 2


def test_tokens_come_back_at_the_rate(limiter: MemoryLimiter, clock: Clock) -> None:
    for _ in range(10):
        ask(limiter, want())
    clock.pass_ms(100)
    assert [ask(limiter, want()).passed for _ in range(2)] == [True, False]


def test_a_refused_check_spends_nothing_of_any_bucket(limiter: MemoryLimiter) -> None:
    ask(limiter, want("per-key", burst=1))
    refused = ask(limiter, want("per-customer", "acme"), want("per-key", burst=1))
    assert [bucket.passed for bucket in refused.spent] == [True, False]
    assert ask(limiter, want("per-customer", "acme")).spent[0].remaining == 9


def test_a_refusal_says_when_to_come_back_and_that_is_true(limiter: MemoryLimiter, clock: Clock) -> None:
    ask(limiter, want(rate=3, burst=1))
    retry_ms = ask(limiter, want(rate=3, burst=1)).spent[0].retry_ms
    assert retry_ms == 334
    clock.pass_ms(retry_ms)
    assert ask(limiter, want(rate=3, burst=1)).passed


def test_a_cost_above_the_burst_never_passes_and_promises_nothing(limiter: MemoryLimiter) -> None:
    spent = ask(limiter, want(cost=11)).spent[0]
    assert (spent.passed, spent.retry_ms) == (False, -1)


def test_a_cost_of_nothing_passes_an_empty_bucket_and_makes_none(limiter: MemoryLimiter) -> None:
    assert ask(limiter, want(cost=0)).passed
    assert len(limiter) == 0


def test_a_changed_rate_is_in_effect_at_once_and_debt_keeps_its_meaning(
    limiter: MemoryLimiter, clock: Clock
) -> None:
    for _ in range(10):
        ask(limiter, want())
    clock.pass_ms(10)
    assert ask(limiter, want(rate=100)).passed


def test_callers_without_a_bucket_share_one_when_there_is_no_room(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_buckets=2)
    for who in ("a", "b"):
        ask(limiter, want(who=who, burst=2))
    shared = [ask(limiter, want(who=str(n), burst=2)).passed for n in range(4)]
    assert shared == [True, True, False, False]
    assert ask(limiter, want(who="a", burst=2)).passed


def test_a_flood_of_callers_never_makes_more_buckets_than_allowed(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_buckets=50)
    for number in range(2000):
        ask(limiter, want(who=str(number)))
        clock.pass_ms(1)
    assert len(limiter) <= 51  # and one that they share


def test_buckets_that_are_full_again_make_room(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_buckets=4)
    for who in "abcd":
        ask(limiter, want(who=who))
    clock.pass_ms(1000)
    assert [ask(limiter, want(who=who, burst=1)).passed for who in "efgh"] == [True] * 4


def test_the_store_is_named(limiter: MemoryLimiter) -> None:
    assert ask(limiter, want()).spent[0].store is Store.MEMORY


def test_without_limits_everything_passes_and_says_so() -> None:
    check = Waiting(want(burst=1, cost=5))
    done: list[Sequence[Waiting]] = []
    NoLimiter().spend([check], done.append)
    assert check.passed
    assert check.spent[0].store is Store.OFF
    assert done == [[check]]


def test_five_hundred_callers_at_once_get_one_token_once(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    checks = [Waiting(want(burst=1)) for _ in range(500)]
    threads = [Thread(target=limiter.spend, args=(checks[start::5], lambda _: None)) for start in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(check.passed for check in checks) == 1


@settings(max_examples=200, deadline=None)
@given(
    rate=st.integers(1, 100),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(0, 400_000), st.sampled_from([0.5, 1.0, 2.0, 7.0])), max_size=60),
)
def test_never_more_is_admitted_than_burst_and_rate_times_time(
    rate: int, burst: int, steps: list[tuple[int, float]]
) -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    admitted: list[tuple[int, Fraction]] = []
    for elapsed_us, cost in steps:
        clock.now_us += elapsed_us
        if ask(limiter, want(rate=rate, burst=burst, cost=cost)).passed:
            admitted.append((clock.now_us, Fraction(cost)))
    for first in range(len(admitted)):
        total = Fraction(0)
        for when_us, charged in admitted[first:]:
            total += charged
            promise = burst + Fraction(rate * (when_us - admitted[first][0]), 10**6)
            assert total <= promise + Fraction(1, 10**9)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 3)), max_size=80))
def test_it_agrees_with_a_model_in_exact_fractions(steps: list[tuple[int, int]]) -> None:
    rate, burst = 7, 5
    clock = Clock()
    limiter = MemoryLimiter(clock)
    debt: Fraction = Fraction(0)
    then_us = clock.now_us
    for elapsed_us, cost in steps:
        clock.now_us += elapsed_us
        exact: Fraction = max(Fraction(0), debt - Fraction(rate * (clock.now_us - then_us), 10**6))
        passed = ask(limiter, want(rate=rate, burst=burst, cost=cost)).passed
        if abs(exact + cost - burst) > Fraction(len(steps), 2**20):  # closer than that, rounding may decide
            assert passed == (exact + cost <= burst)
        if passed:
            debt = exact + Fraction(cost)
            then_us = clock.now_us


_RATES = st.sampled_from([(7, 5), (1, 5), (900, 3), (2, 11)])


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 900_000), st.integers(1, 4), _RATES), max_size=60))
def test_it_agrees_with_the_model_whenever_rate_and_burst_change(
    steps: list[tuple[int, int, tuple[int, int]]],
) -> None:
    """A reload changes what a bucket refills by and holds; what is owed stays owed."""
    clock = Clock()
    limiter = MemoryLimiter(clock)
    debt, then_us = Fraction(0), clock.now_us
    for elapsed_us, cost, (rate, burst) in steps:
        clock.now_us += elapsed_us
        exact: Fraction = max(Fraction(0), debt - Fraction(rate * (clock.now_us - then_us), 10**6))
        passed = ask(limiter, want(rate=rate, burst=burst, cost=cost)).passed
        if abs(exact + cost - burst) > Fraction(len(steps), 2**20):  # closer than that, rounding may decide
            assert passed == (exact + cost <= burst)
        if passed:
            debt, then_us = exact + Fraction(cost), clock.now_us


def test_buckets_of_a_limit_that_is_gone_make_room_as_others_come(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_buckets=1000)
    for who in range(1000):
        ask(limiter, want(f"gone-{who}"))
    clock.pass_ms(60_000)
    for who in range(400):
        assert ask(limiter, want(f"new-{who}")).passed
        clock.pass_ms(1)
    assert len(limiter) <= 450


# --- limits in shadow


def test_buckets_in_shadow_are_drawn_from_apart(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    trial = Waiting(want(burst=1))
    handed: list[Waiting] = []
    limiter.spend_in_shadow([trial], handed.extend)
    assert (handed, trial.spent[0].remaining) == ([trial], 0)
    assert ask(limiter, want(burst=1)).passed
    assert len(limiter) == 2


def test_buckets_in_shadow_take_no_room_from_those_that_are_enforced(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_buckets=1)
    for who in ("a", "b", "c"):
        limiter.spend_in_shadow([Waiting(want(who=who))], lambda _: None)
    alone = ask(limiter, want(who="d"))
    assert alone.spent[0].remaining == 9
    assert ask(limiter, want(who="e")).spent[0].remaining == 9
    assert ask(limiter, want(who="f")).spent[0].remaining == 8  # one overflow bucket, as ever


def test_where_limits_are_off_those_in_shadow_are_too() -> None:
    trial = Waiting(want(cost=99))
    NoLimiter().spend_in_shadow([trial], lambda _: None)
    assert (trial.passed, trial.spent[0].store) == (True, Store.OFF)


def test_workers_together_admit_what_one_process_would(clock: Clock) -> None:
    whole = Rate(10.0, 20.0)
    workers = [MemoryLimiter(clock) for _ in range(4)]

    def admitted(times: int) -> int:
        spend = Spend("l", ("l", "n", "k"), whole.share(4), 1.0)
        return sum(ask(worker, spend).passed for worker in workers for _ in range(times))

    assert admitted(10) == 20
    clock.pass_ms(1000)
    assert admitted(10) == 10 - 2  # two and a half tokens are two


@pytest.mark.parametrize(("cost", "retry_ms"), [(10.0, 1000), (7.0, 1000), (5.0, 1000)])
def test_what_fits_the_whole_burst_passes_a_full_bucket_of_a_share(
    clock: Clock, cost: float, retry_ms: int
) -> None:
    limiter = MemoryLimiter(clock)
    share = Rate(10.0, 10.0).share(2)  # five tokens, five a second
    spend = Spend("l", ("l", "n", "k"), share, cost)
    first = ask(limiter, spend)
    assert first.passed
    assert first.spent[0].remaining == 0
    again = ask(limiter, spend)
    assert not again.passed
    assert again.spent[0].retry_ms == int(cost / 5.0 * retry_ms)
    clock.pass_ms(again.spent[0].retry_ms)
    assert ask(limiter, spend).passed


def test_what_exceeds_the_whole_burst_never_passes_a_share(clock: Clock) -> None:
    check = ask(MemoryLimiter(clock), Spend("l", ("l", "n", "k"), Rate(10.0, 10.0).share(2), 10.5))
    assert not check.passed
    assert check.spent[0].retry_ms == -1
