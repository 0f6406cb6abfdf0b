"""Orders: what checks ask of Redis, worked out once for all that ask for the same."""

from __future__ import annotations

from struct import unpack

import pytest

from authz.limits.redis import order
from authz.limits.redis.keys import Keys
from authz.limits.redis.order import Orders
from authz.limits.redis.script import entry
from authz.model.limit import Rate, Spend
from tests.support.spending import RATE, spend

KEYS = Keys("test")


def orders(slot: int = 0) -> Orders:
    return Orders(KEYS, lambda key: slot)


def test_an_order_has_what_the_script_reads_of_it() -> None:
    spends = (spend("per-key", "k1", 2.0), spend("per-customer", "acme"))
    made = orders(slot=7).of(spends)
    assert made.names == tuple(KEYS.name(each) for each in spends)
    assert (made.slot, made.size, made.spends) == (7, 2, spends)
    assert unpack("<8d", made.once) == (1, 2, 10, 20, 2, 10, 20, 1)
    assert made.once == entry(spends)
    assert made.times(9) == entry(spends, 9)


def test_those_who_ask_for_the_same_have_one_order() -> None:
    known = orders()
    spends = (spend(),)
    assert known.of(spends) is known.of(spends) is known.of((spend(),))
    assert known.of((spend(rate=Rate(10.0, 20.0)),)) is known.of(spends), "made anew by a reload"


@pytest.mark.parametrize(
    "other",
    [
        (spend(value="k2"),),
        (spend("per-route"),),
        (spend(cost=2.0),),
        (spend(rate=Rate(11.0, 20.0)),),
        (spend(rate=Rate(10.0, 21.0)),),
        (spend(rate=Rate(10.0, 20.0, window_s=60)),),
        (spend(), spend("per-route")),
    ],
)
def test_whoever_asks_for_anything_else_has_another(other: tuple[Spend, ...]) -> None:
    known = orders()
    assert known.of((spend(rate=RATE),)) is not known.of(other)


def test_orders_are_bounded_and_never_mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spends that are made for one check leave their id to the next: nobody gets the order of another."""
    monkeypatch.setattr(order, "_KNOWN_MAX", 10)
    known = orders()
    for number in range(200):
        spends = (spend(value=str(number)),)
        assert known.of(spends).names == (KEYS.name(spends[0]),)
        assert len(known) <= 10
