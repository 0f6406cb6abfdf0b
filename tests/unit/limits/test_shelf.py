from __future__ import annotations

from collections.abc import Sequence

import pytest

from authz.limits.inquiry import COUNT_MAX, Inquiry, Shelved
from authz.limits.memory import MemoryLimiter
from authz.limits.redis.keys import Keys
from authz.limits.shelf import Known, Shelf, known_of, shelved
from authz.model.limit import Rate, Spend, Spent, Store

FAST = Rate(10.0, 100.0)
LIMITS = {
    "per-key": Known((True,), FAST),
    "per-visit": Known((True, False), FAST),
}
KEYS = Keys("default")


class Clock:
    now_us = 0

    def __call__(self) -> int:
        return self.now_us


class Check:
    """One check that draws."""

    def __init__(self, *spends: Spend) -> None:
        self.spends = spends
        self.spent: tuple[Spent, ...] = ()

    def settle(self, spent: tuple[Spent, ...]) -> None:
        self.spent = spent


class Shop:
    """A store in memory, and whoever asks about it."""

    def __init__(self, processes: int = 1) -> None:
        self.clock = Clock()
        self.limiter = MemoryLimiter(self.clock, max_buckets=50_000)
        self.forgotten: list[tuple[str, ...]] = []
        self.breaths = 0
        self.shelf = Shelf(self.limiter, Store.MEMORY, lambda: processes, self.forgotten.append)

    def draw(self, cost: float, *bucket: str, rate: Rate = FAST) -> Spent:
        check = Check(Spend(bucket[0], bucket, rate, cost))
        self.limiter.spend([check], lambda _: None)
        return check.spent[0]

    def try_(self, cost: float, *bucket: str) -> None:
        self.limiter.spend_in_shadow([Check(Spend(bucket[0], bucket, FAST, cost))], lambda _: None)

    def breathe(self) -> None:
        self.breaths += 1

    def ask(self, inquiry: Inquiry) -> Shelved:
        return shelved(self.shelf, inquiry, LIMITS, KEYS, self.breathe)

    def names(self, inquiry: Inquiry) -> list[Sequence[str | None]]:
        return [row.name for row in self.ask(inquiry).rows]


def test_the_fullest_come_first_and_each_says_what_is_owed() -> None:
    shop = Shop(processes=3)
    for name, cost in (("a", 5), ("b", 50), ("c", 20)):
        shop.draw(cost, "per-key", "example", name)
    shop.clock.now_us = 1_000_000
    told = shop.ask(Inquiry(count=2))
    assert (told.store, told.processes, told.held) == ("memory", 3, 3)
    assert [(row.name, row.debt, row.elapsed_us) for row in told.rows] == [
        (["per-key", "example", "b"], 50.0, 1_000_000),
        (["per-key", "example", "c"], 20.0, 1_000_000),
    ]
    assert told.rows[0].digest == KEYS.digest(("per-key", "example", "b"))


def test_fullness_is_what_part_of_the_burst_is_drawn_after_what_has_refilled() -> None:
    shop = Shop()
    shop.draw(60, "per-key", "example", "earlier")
    shop.clock.now_us = 5_000_000
    shop.draw(20, "per-key", "example", "later")
    assert shop.names(Inquiry()) == [["per-key", "example", "later"], ["per-key", "example", "earlier"]]


def test_a_value_that_records_do_not_tell_is_told_nowhere() -> None:
    shop = Shop()
    shop.draw(1, "per-visit", "example", "k", "SECRET")
    shop.draw(2, "per-visit", "example", "k", "OTHER")
    rows = shop.ask(Inquiry()).rows
    assert [row.name for row in rows] == [["per-visit", "example", "k", None]] * 2
    assert rows[0].digest != rows[1].digest
    assert "SECRET" not in str(rows)


@pytest.mark.parametrize("bucket", [("gone", "example", "SECRET"), ("per-key", "example", "k", "SECRET")])
def test_of_a_limit_that_is_gone_or_was_another_nothing_is_told(bucket: tuple[str, ...]) -> None:
    shop = Shop()
    shop.draw(1, *bucket)
    assert shop.names(Inquiry()) == [[bucket[0], *[None] * (len(bucket) - 1)]]


def test_what_records_tell_follows_from_the_expression() -> None:
    assert known_of([" identity.key_id ", "identity.claims", 'request.headers["x"]'], FAST).told == (
        True,
        False,
        False,
    )


def test_buckets_are_found_by_name_and_by_pattern_and_those_in_shadow_too() -> None:
    shop = Shop()
    for name in ("a", "b"):
        shop.draw(1, "per-key", "example", name)
    shop.draw(1, "per-visit", "example", "a", "x")
    shop.try_(1, "shadow/per-key", "example", "a")
    named = Inquiry(
        buckets=[["per-key", "example", "a"], ["shadow/per-key", "example", "a"], ["per-key", "n"]]
    )
    assert sorted(map(str, shop.names(named))) == [
        "['per-key', 'example', 'a']",
        "['shadow/per-key', 'example', 'a']",
    ]
    assert shop.names(Inquiry(buckets=[["per-key", "example", None], ["per-visit", None, "b", None]])) == [
        ["per-key", "example", "a"],
        ["per-key", "example", "b"],
    ]
    assert len(shop.names(Inquiry(limit="per-key"))) == 3
    assert shop.names(Inquiry(limit="other")) == []


def test_what_is_filled_up_is_full_is_said_and_is_remembered_by_nobody() -> None:
    shop = Shop()
    assert shop.draw(100, "per-key", "example", "a").passed
    assert not shop.draw(1, "per-key", "example", "a").passed
    shop.try_(100, "shadow/per-key", "example", "a")
    named: list[list[str | None]] = [["per-key", "example", "a"], ["per-key", "example", "never"]]
    named.append(["shadow/per-key", "example", "a"])
    told = shop.ask(Inquiry(buckets=named, forgive=True))
    assert sorted(str(row.name[0]) for row in told.rows) == ["per-key", "shadow/per-key"]
    assert {*map(str, shop.forgotten)} == {str(tuple(name)) for name in named}
    assert shop.draw(100, "per-key", "example", "a").passed
    assert shop.ask(Inquiry(buckets=[["shadow/per-key", "example", "a"]])).rows[0].debt == 0.0


def test_what_is_filled_up_is_swept_away_like_any_other() -> None:
    shop = Shop()
    shop.draw(1, "per-key", "example", "a")
    shop.ask(Inquiry(buckets=[["per-key", "example", "a"]], forgive=True))
    shop.clock.now_us = 1
    shop.draw(1, "per-key", "example", "b")
    shop.draw(1, "per-key", "example", "c")
    assert sorted(str(name[2]) for name in shop.names(Inquiry())) == ["b", "c"]


def test_of_many_buckets_at_most_so_many_are_told_and_whoever_judges_has_turns_meanwhile() -> None:
    shop = Shop()
    for number in range(2000):
        shop.draw(1, "per-key", "example", str(number))
    told = shop.ask(Inquiry(count=10**9))
    assert len(told.rows) == COUNT_MAX
    assert told.held == 2000
    assert shop.breaths >= 2000 // 256


def test_what_latecomers_share_is_told_by_its_limit_alone() -> None:
    shop = Shop()
    shop.limiter = MemoryLimiter(shop.clock, max_buckets=1)
    shop.shelf = shop.shelf._replace(limiter=shop.limiter)
    shop.draw(1, "per-key", "example", "a")
    shop.draw(7, "per-key", "example", "b")
    assert shop.names(Inquiry(buckets=[["per-key"]])) == [["per-key"]]
