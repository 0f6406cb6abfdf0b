"""Debts that were seen: refusals without asking, and floors for servers that may have forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.limits.bucket import settle
from authz.limits.seen import REFUSE_US, Seen
from authz.model.limit import Rate, Spend, Spent, Store
from tests.support.spending import teach

RATE = Rate(10.0, 20.0)
SENT_US = 5_000_000


def want(who: str = "k1", cost: float = 1.0, rate: Rate = RATE) -> Spend:
    return Spend("per-key", ("per-key", "ns", who), rate, cost)


def seen(debt: float, who: str = "k1", rate: Rate = RATE, generation: int = 1) -> Seen:
    table = Seen()
    teach(table, want(who).bucket, debt, SENT_US, rate, generation)
    return table


def test_a_bucket_that_was_never_seen_is_asked_about() -> None:
    assert Seen().refusal((want(),), SENT_US) is None


def test_a_bucket_with_room_is_asked_about() -> None:
    assert seen(19.0).refusal((want(),), SENT_US) is None


def test_a_bucket_without_room_refuses_until_it_must_have_some() -> None:
    table = seen(20.0)
    refusal = table.refusal((want(),), SENT_US + 50_000)
    assert refusal == (Spent("per-key", False, 0, 50, 2, RATE, Store.REDIS),)
    assert table.refusal((want(),), SENT_US + 100_000) is None


def test_what_was_seen_longer_ago_than_a_second_refuses_nobody() -> None:
    slow = Rate(0.01, 20.0)
    table = seen(20.0, rate=slow)
    assert table.refusal((want(rate=slow),), SENT_US + REFUSE_US) is not None
    assert table.refusal((want(rate=slow),), SENT_US + REFUSE_US + 1) is None


@pytest.mark.parametrize("rate", [Rate(11.0, 20.0), Rate(10.0, 19.0), Rate(10.0, 40.0)])
def test_another_rate_or_burst_is_asked_about(rate: Rate) -> None:
    assert seen(20.0).refusal((want(rate=rate),), SENT_US) is None


def test_a_rate_that_is_equal_is_the_same() -> None:
    assert seen(20.0).refusal((want(rate=Rate(10.0, 20.0)),), SENT_US) is not None


def test_a_larger_cost_is_refused_where_a_smaller_one_is_asked_about() -> None:
    table = seen(15.0)
    assert table.refusal((want(cost=5.0),), SENT_US) is None
    assert table.refusal((want(cost=6.0),), SENT_US) is not None


def test_what_costs_nothing_is_never_refused_from_memory() -> None:
    assert seen(20.0).refusal((want(cost=0.0),), SENT_US) is None


def test_a_cost_above_the_burst_never_passes_and_needs_no_question() -> None:
    for table in (Seen(), seen(3.0)):
        (spent,) = table.refusal((want(cost=21.0),), SENT_US + 10 * REFUSE_US) or ()
        assert not spent.passed
        assert spent.retry_ms == -1


def test_one_bucket_without_room_refuses_the_check_and_the_others_are_told_as_last_seen() -> None:
    table = seen(20.0, "full")
    teach(table, want("half").bucket, 10.0, SENT_US - 2_000_000, RATE, 1)
    spent = table.refusal((want("new"), want("half"), want("full")), SENT_US)
    assert spent is not None
    assert [(one.passed, one.remaining) for one in spent] == [(True, 20), (True, 20), (False, 0)]
    assert [one.store for one in spent] == [Store.REDIS] * 3


def test_a_refusal_that_another_thread_has_made_wrong_is_no_refusal() -> None:
    table = seen(20.0)

    rounds = 0

    class Twice(tuple[Spend, ...]):
        """Is gone through twice; before the second time the spender has learned better."""

        __slots__ = ()

        def __iter__(self) -> Iterator[Spend]:
            nonlocal rounds
            rounds += 1
            if rounds == 2:
                teach(table, want().bucket, 0.0, SENT_US, RATE, 1)
            return super().__iter__()

    assert table.refusal(Twice((want(),)), SENT_US) is None
    assert rounds == 2


def test_a_server_of_the_same_generation_needs_no_floor() -> None:
    assert seen(12.0, generation=3).floor(want(), SENT_US, 3) == 0.0


def test_a_new_server_is_told_once_what_a_bucket_owes() -> None:
    table = seen(12.0, generation=3)
    assert table.floor(want(), SENT_US + 500_000, 4) == 7.0
    assert table.floor(want(), SENT_US + 500_000, 4) == 7.0  # nobody has answered yet
    teach(table, want().bucket, 8.0, SENT_US + 500_000, RATE, 4)
    assert table.floor(want(), SENT_US + 600_000, 4) == 0.0


def test_a_floor_takes_the_faster_of_two_rates() -> None:
    table = seen(12.0)
    assert table.floor(want(rate=Rate(1.0, 20.0)), SENT_US + 1_000_000, 2) == 2.0
    assert table.floor(want(rate=Rate(12.0, 20.0)), SENT_US + 1_000_000, 2) == 0.0


def test_no_floor_is_more_than_a_burst_whatever_a_server_said() -> None:
    """An honest server would keep that bucket closed until a debt of 2^42 tokens has refilled."""
    table = seen(float(1 << 42))
    assert table.floor(want(), SENT_US, 2) == 20.0
    assert table.floor(want(rate=Rate(10.0, 5.0)), SENT_US, 2) == 20.0
    assert table.floor(want(rate=Rate(10.0, 50.0)), SENT_US, 2) == 50.0


def test_a_bucket_that_was_never_seen_has_no_floor_and_no_debt() -> None:
    assert Seen().floor(want(), SENT_US, 2) == 0.0
    assert Seen().debt(want().bucket, SENT_US) == 0.0


def test_what_a_bucket_owes_falls_with_time() -> None:
    table = seen(12.0)
    assert table.debt(want().bucket, SENT_US) == 12.0
    assert table.debt(want().bucket, SENT_US + 1_000_000) == 2.0
    assert table.debt(want().bucket, SENT_US + 1_200_000) == 0.0


@given(
    st.floats(0.001, 1e6),
    st.floats(0.001, 1e5),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
)
def test_what_is_remembered_is_never_more_than_the_truth(
    debt: float, per_s: float, outward_us: int, back_us: int, later_us: int
) -> None:
    """The server settles from its own moment, which lies after the question was sent."""
    rate = Rate(per_s, max(1.0, debt))
    table = Seen()
    teach(table, want().bucket, debt, 0, rate, 1)
    at_server_us = settle(debt, back_us + later_us, per_s)
    assert table.debt(want().bucket, outward_us + back_us + later_us) <= at_server_us


def test_the_table_is_bounded_and_keeps_the_latest() -> None:
    table = Seen(entries_max=10)
    for number in range(1000):
        teach(table, want(str(number)).bucket, 5.0, SENT_US, RATE, 1)
        assert len(table) <= 20
        assert table.debt(want(str(number)).bucket, SENT_US) == 5.0
    assert table.debt(want("995").bucket, SENT_US) == 5.0
    assert table.debt(want("0").bucket, SENT_US) == 0.0


def test_the_older_half_of_the_table_refuses_as_well() -> None:
    table = Seen(entries_max=2)
    teach(table, want("full").bucket, 20.0, SENT_US, RATE, 1)
    teach(table, want("other").bucket, 1.0, SENT_US, RATE, 1)
    teach(table, want("third").bucket, 1.0, SENT_US, RATE, 1)
    assert table.refusal((want("full"),), SENT_US) is not None
    assert table.floor(want("full"), SENT_US, 2) == 20.0


def test_what_is_learnt_of_a_check_is_learnt_of_each_bucket() -> None:
    table = Seen()
    table.learn([((want("k1"), want("k2")), (20.0, 5.0))], SENT_US, 1)
    assert [table.debt(want(who).bucket, SENT_US) for who in ("k1", "k2")] == [20.0, 5.0]


def test_a_table_that_is_filled_by_whole_checks_stays_bounded() -> None:
    table = Seen(4)
    for number in range(20):
        table.learn([((want(f"a{number}"), want(f"b{number}")), (20.0, 20.0))], SENT_US, 1)
    assert len(table) <= 8
    assert table.debt(want("a19").bucket, SENT_US) == 20.0


def test_floors_are_told_of_a_check_as_soon_as_one_of_its_buckets_has_one() -> None:
    table = seen(20.0)
    assert table.floors_for(SENT_US, 1) is None
    floors = table.floors_for(SENT_US, 2)
    assert floors is not None
    assert list(floors((want("k2"), want("k1")))) == [0.0, 20.0]
    assert list(floors((want("k2"),))) == []


def test_what_an_older_server_said_is_told_until_a_newer_one_has_said_it_itself() -> None:
    """However much else was learnt of the newer one meanwhile."""
    table = seen(20.0)
    table.learn([((want("k2"),), (5.0,))], SENT_US, 2)
    floors = table.floors_for(SENT_US, 2)
    assert floors is not None
    assert list(floors((want("k1"), want("k2")))) == [20.0, 0.0]
    table.learn([((want("k1"),), (7.0,))], SENT_US, 2)
    assert list(floors((want("k1"), want("k2")))) == []


def test_whoever_is_refused_from_memory_is_not_told_to_come_back_too_early() -> None:
    """The time that the answer took counts against him: nobody knows when within it the server looked."""
    table = Seen()
    teach(table, want().bucket, 20.0, SENT_US, RATE, 1, trip_us=15_000)
    spent = table.refusal((want(),), SENT_US + 40_000)
    assert spent is not None
    assert spent[0].retry_ms == 75  # a token takes 100 ms, of which 25 surely have passed
