from __future__ import annotations

import pytest

from authz.lookout.selection import Selection
from authz.lookout.standing import NEVER, Found, full, standing
from authz.model.limit import Rate, Store
from tests.support.buckets import census

RATE = Rate(2.0, 10.0)


def found(debt: float | None, elapsed_us: int = 0, processes: int = 1) -> Found:
    return Found(("per-key", "example", "k"), "digest", debt, elapsed_us, Store.MEMORY, processes=processes)


def test_what_is_owed_refills_with_time_and_says_what_is_left() -> None:
    stands = standing(found(6.0, elapsed_us=1_000_000), RATE, 1.0, "k")
    assert (stands.debt, stands.remaining, stands.full_s, stands.wait_s) == (4.0, 6, 2.0, 0.0)
    assert not stands.refuses
    assert stands.fullness == 0.4


def test_it_refuses_until_one_request_has_room() -> None:
    stands = standing(found(10.0), RATE, 1.0, "k")
    assert (stands.refuses, stands.remaining, stands.wait_s, stands.full_s) == (True, 0, 0.5, 5.0)
    assert standing(found(10.0), RATE, 3.0, "k").wait_s == 1.5


def test_a_request_that_costs_more_than_the_burst_never_passes() -> None:
    assert standing(found(0.0), RATE, 11.0, "k").wait_s == NEVER


@pytest.mark.parametrize(("processes", "wait_s"), [(1, 0.0), (2, 0.0), (5, 2.5), (0, 0.0)])
def test_where_processes_share_a_rate_each_has_its_part(processes: int, wait_s: float) -> None:
    stands = standing(found(2.0, processes=processes), RATE, 1.0, "k")
    assert stands.wait_s == wait_s


def test_what_is_no_bucket_refuses_everybody() -> None:
    stands = standing(found(None), RATE, 1.0, "k")
    assert stands.refuses
    assert stands.fullness > 1.0


def test_a_bucket_that_nobody_holds_is_full() -> None:
    (target, *_) = Selection(census(), "per-key").of_key("first")
    stands = full(target, "key first")
    assert (stands.debt, stands.remaining, stands.refuses, stands.found) == (0.0, 2, False, None)
