"""While no store answers: each limit's own way, all or nothing over the check."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.limits.outage import Outage
from authz.limits.seen import Seen
from authz.model.limit import OnStoreError, Rate, Spend, Store
from tests.support.spending import teach

NOW_US = 5_000_000
RATE = Rate(10.0, 20.0)


def want(
    limit: str = "per-key",
    how: OnStoreError = OnStoreError.LOCAL,
    cost: float = 1.0,
    rate: Rate = RATE,
    who: str = "k1",
) -> Spend:
    return Spend(limit, (limit, "ns", who), rate, cost, (), how)


ALLOW = want("allowing", OnStoreError.ALLOW)
DENY = want("denying", OnStoreError.DENY)
SHADOW = want()._replace(bucket=("shadow/per-key", "ns", "k1"))


class Fleet:
    def __init__(self, members: int) -> None:
        self.members = members

    def __call__(self) -> int:
        return self.members


def outage(members: int = 4, seen: Seen | None = None, max_buckets: int = 100) -> Outage:
    return Outage(Fleet(members), Seen() if seen is None else seen, lambda: NOW_US, max_buckets)


def passes(deciding: Outage, *spends: Spend, now_us: int = NOW_US, most: int = 1000) -> int:
    """Ask until it refuses; return how often it let pass."""
    for count in range(most):
        if not all(spent.passed for spent in deciding.decide(spends, now_us)):
            return count
    return most


@pytest.mark.parametrize(("members", "passing"), [(1, 20), (4, 5), (20, 1), (1000, 1)])
def test_a_local_bucket_holds_one_members_part_of_the_burst(members: int, passing: int) -> None:
    assert passes(outage(members), want()) == passing


def test_a_local_bucket_refills_at_one_members_part_of_the_rate() -> None:
    deciding = outage(4)
    passes(deciding, want())
    assert passes(deciding, want(), now_us=NOW_US + 399_000) == 0
    assert passes(deciding, want(), now_us=NOW_US + 400_000) == 1


def test_a_cost_that_fits_the_whole_burst_passes_a_part_of_it() -> None:
    assert passes(outage(4), want(cost=15.0)) == 1


def test_whoever_lets_pass_counts_nothing() -> None:
    deciding = outage()
    assert passes(deciding, ALLOW, most=50) == 50
    (spent,) = deciding.decide((ALLOW,), NOW_US)
    assert (spent.store, spent.failed, spent.remaining) == (Store.OUTAGE, False, 20)
    assert len(deciding) == 0


def test_whoever_denies_says_that_its_store_failed() -> None:
    (spent,) = outage().decide((DENY,), NOW_US)
    assert (spent.passed, spent.failed, spent.retry_ms) == (False, True, 0)


def test_without_a_known_fleet_a_local_limit_refuses_and_the_other_two_do_as_they_say() -> None:
    deciding = outage(members=0)
    local, allowing, denying = deciding.decide((want(), ALLOW, DENY), NOW_US)
    assert (local.failed, allowing.failed, denying.failed) == (True, False, True)
    assert deciding.decide((ALLOW,), NOW_US)[0].passed


@pytest.mark.parametrize("spends", [(want(), DENY), (DENY, want()), (want(), ALLOW, DENY)])
def test_a_check_that_one_limit_refuses_takes_no_token_of_another(spends: tuple[Spend, ...]) -> None:
    deciding = outage(4)
    for _ in range(10):
        assert not all(spent.passed for spent in deciding.decide(spends, NOW_US))
    assert passes(deciding, want()) == 5


def test_a_full_local_bucket_keeps_its_neighbours_full() -> None:
    deciding = outage(4)
    passes(deciding, want("narrow", rate=Rate(1.0, 4.0)))
    spent = deciding.decide((want(), ALLOW, want("narrow", rate=Rate(1.0, 4.0))), NOW_US)
    assert [one.passed for one in spent] == [True, True, False]
    assert passes(deciding, want()) == 5


def test_results_come_in_the_order_of_what_was_asked() -> None:
    order = (ALLOW, want("b"), want("a"), ALLOW)
    assert [one.limit for one in outage().decide(order, NOW_US)] == ["allowing", "b", "a", "allowing"]


def test_every_answer_says_that_it_was_given_in_an_outage() -> None:
    for spends in ((want(), ALLOW), (want(), ALLOW, DENY), (want(cost=30.0),)):
        assert {one.store for one in outage().decide(spends, NOW_US)} == {Store.OUTAGE}


def test_a_local_bucket_begins_with_its_part_of_the_debt_that_was_seen() -> None:
    seen = Seen()
    teach(seen, want().bucket, 16.0, NOW_US, RATE, 1)
    assert passes(outage(4, seen), want()) == 1


def test_what_a_server_said_beyond_reason_is_felt_no_longer_than_a_bucket_takes_to_fill() -> None:
    table = Seen()
    teach(table, want().bucket, float(1 << 42), NOW_US, RATE, 1)
    deciding = outage(4, table)
    assert passes(deciding, want()) == 0
    assert passes(deciding, want(), now_us=NOW_US + 2_000_000) == 5


def test_a_debt_that_was_seen_refills_by_time() -> None:
    seen = Seen()
    teach(seen, want().bucket, 20.0, NOW_US - 1_000_000, RATE, 1)
    assert passes(outage(1, seen), want()) == 10


def test_a_debt_that_was_seen_counts_once_and_not_again_with_each_check() -> None:
    seen = Seen()
    teach(seen, want().bucket, 8.0, NOW_US, RATE, 1)
    deciding = outage(4, seen)
    assert [deciding.decide((want(),), NOW_US)[0].remaining for _ in range(3)] == [2, 1, 0]


def test_a_second_outage_hands_out_no_second_burst() -> None:
    seen = Seen()
    deciding = outage(4, seen)
    assert passes(deciding, want()) == 5
    teach(seen, want().bucket, 1.0, NOW_US, RATE, 2)  # a server answered, and went away again
    assert passes(deciding, want()) == 0


def test_a_second_outage_begins_with_what_was_spent_in_between() -> None:
    seen = Seen()
    deciding = outage(4, seen)
    assert passes(deciding, want(), most=1) == 1
    teach(seen, want().bucket, 20.0, NOW_US, RATE, 2)
    assert passes(deciding, want()) == 0


def test_a_fleet_that_grew_divides_anew() -> None:
    fleet = Fleet(1)
    deciding = Outage(fleet, Seen(), lambda: NOW_US)
    assert passes(deciding, want(who="a")) == 20
    fleet.members = 4
    assert passes(deciding, want(who="b")) == 5


def test_a_part_of_a_rate_is_worked_out_once_and_belongs_to_that_rate_alone() -> None:
    deciding = outage(4)
    rates = [Rate(10.0, float(burst)) for burst in range(4, 404, 4)]
    for burst, rate in zip(range(4, 404, 4), rates, strict=True):
        assert passes(deciding, want(f"l{burst}", rate=rate)) == burst // 4
    first = deciding.decide((want(),), NOW_US)[0].rate
    assert first is deciding.decide((want(),), NOW_US)[0].rate
    assert first.whole == RATE


def test_what_is_in_shadow_draws_from_buckets_of_its_own() -> None:
    deciding = outage(4, max_buckets=1)
    assert passes(deciding, SHADOW) == 5
    assert passes(deciding, want()) == 5
    assert len(deciding) == 2


def test_local_buckets_are_bounded_and_strangers_share_one_without_anybodys_debt() -> None:
    seen = Seen()
    teach(seen, want(who="late").bucket, 20.0, NOW_US, RATE, 1)
    deciding = outage(1, seen, max_buckets=2)
    for who in ("a", "b"):
        passes(deciding, want(who=who))
    assert deciding.decide((want(who="late"),), NOW_US)[0].passed
    assert len(deciding) <= 3


@given(
    members=st.integers(1, 9),
    burst=st.integers(1, 60),
    asked=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 300_000)), max_size=120),
)
def test_a_fleet_that_decides_alone_admits_no_more_than_the_whole_limit(
    members: int, burst: int, asked: list[tuple[int, int]]
) -> None:
    """But for the one token that each member's part holds at least."""
    rate = Rate(10.0, float(burst))
    fleet = [outage(members) for _ in range(members)]
    now_us, admitted = NOW_US, 0
    for member, later_us in asked:
        now_us += later_us
        admitted += fleet[member % members].decide((want(rate=rate),), now_us)[0].passed
    most = max(burst, members) + Fraction(now_us - NOW_US, 100_000)
    assert admitted <= most
