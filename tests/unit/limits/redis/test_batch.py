from __future__ import annotations

from struct import unpack

import pytest

from authz.limits.redis.batch import ENTRIES_MAX, KEYS_MAX, Batch
from authz.limits.redis.keys import Keys
from authz.limits.redis.order import Orders
from authz.model.limit import Store
from tests.support.spending import RATE, Wanting, spend

TOKEN = 1 << 20
KEYS = Keys("test")


def batch(*checks: Wanting, slots: dict[bytes, int] | None = None, floor: float = 0.0) -> Batch:
    made = Batch(Orders(KEYS, lambda key: (slots or {}).get(key, 0)), lambda spends: [floor] * len(spends))
    made.fill(checks)
    return made


def values(made: Batch, slot: int = 0) -> list[float]:
    argument = made.pages[slot].call().argument
    return list(unpack(f"<{len(argument) // 8}d", argument))


def settle(made: Batch, *reply: int) -> list[tuple[str, float]]:
    """Settle the only page, and return what was learnt."""
    unread, found = made.pages[0].settle(reply)
    assert unread == []
    return [
        (spend.bucket[-1], debt) for spends, debts in found for spend, debt in zip(spends, debts, strict=True)
    ]


def test_a_check_is_one_entry_with_all_its_buckets() -> None:
    made = batch(Wanting(spend("per-key", "k1", 2.0), spend("per-customer", "acme")))
    assert made.pages[0].call().keys == (
        KEYS.name(spend("per-key", "k1")),
        KEYS.name(spend("per-customer", "acme")),
    )
    assert values(made) == [0, 1, 2, 10, 20, 2, 10, 20, 1]


def test_a_bucket_of_two_checks_is_named_with_each() -> None:
    shared = spend("per-customer", "acme")
    made = batch(Wanting(spend("per-key", "k1"), shared), Wanting(spend("per-key", "k2"), shared))
    keys = made.pages[0].call().keys
    assert [keys[1], len(keys)] == [keys[3], 4]
    assert made.entries == 2


def test_checks_that_ask_for_the_same_are_one_entry() -> None:
    spends = (spend(),)
    first, second, third = Wanting(), Wanting(), Wanting(spend())  # the third: alike, but made anew
    first.spends = second.spends = spends
    made = batch(first, second, third)
    assert values(made) == [0, 3, 1, 10, 20, 1]
    assert made.coalesced == 2


def test_another_cost_or_rate_is_another_entry() -> None:
    other = RATE.share(2)
    made = batch(Wanting(spend()), Wanting(spend(cost=2.0)), Wanting(spend(rate=other)))
    assert made.entries == 3
    assert len(set(made.pages[0].call().keys)) == 1


def test_grants_of_an_entry_are_handed_out_in_order() -> None:
    checks = [Wanting(spend()) for _ in range(3)]
    settle(batch(*checks), 2, 20 * TOKEN)
    assert [check.passed for check in checks] == [True, True, False]
    assert [check.spent[0].remaining for check in checks if check.spent] == [1, 0, 0]
    assert [check.spent[0].retry_ms for check in checks if check.spent] == [0, 0, 100]
    assert {check.spent[0].store for check in checks if check.spent} == {Store.REDIS}


def test_of_a_refused_check_the_buckets_with_room_say_that_they_had_it() -> None:
    check = Wanting(spend("per-key", "k1"), spend("per-customer", "acme"))
    learnt = settle(batch(check), 0, 3 * TOKEN, 20 * TOKEN)
    assert check.spent is not None
    assert [(bucket.passed, bucket.remaining) for bucket in check.spent] == [(True, 17), (False, 0)]
    assert learnt == [("k1", 3.0), ("acme", 20.0)]


def test_a_bucket_that_cannot_be_read_leaves_its_checks_to_others() -> None:
    broken, sound = Wanting(spend("per-key", "k1")), Wanting(spend("per-key", "k2"))
    unread = batch(broken, sound).pages[0].settle([-1, -1, 1, TOKEN])
    assert unread == ([broken], [(sound.spends, [1.0])])
    assert broken.spent is None
    assert sound.passed


@pytest.mark.parametrize("reply", [[], [1], [1, 0, 0], [1, 0, 1, 0]])
def test_an_answer_of_another_length_settles_nobody(reply: list[int]) -> None:
    check = Wanting(spend())
    with pytest.raises(ValueError, match="length"):
        batch(check).pages[0].settle(reply)
    assert check.times == 0


@pytest.mark.parametrize(
    "reply",
    [[-2, TOKEN], [3, TOKEN], [2, -1], [-(2**63), 0], [0, 0], [1, 19 * TOKEN]],
    ids=["less than none", "more than asked", "debt below none", "overflown", "room", "room for the second"],
)
def test_an_answer_that_the_script_never_gives_settles_nobody(reply: list[int]) -> None:
    """Least of all may a refusal be told of buckets that all have room: told so, a check is allowed."""
    first, second, other = Wanting(spend()), Wanting(spend()), Wanting(spend(value="other"))
    with pytest.raises(ValueError, match=r"never gives|that fits"):
        batch(other, first, second).pages[0].settle([1, TOKEN, *reply])
    assert [check.times for check in (first, second, other)] == [0, 0, 0]


def test_each_slot_has_a_call_of_its_own() -> None:
    one, other = spend("per-key", "k1"), spend("per-key", "k2")
    made = batch(Wanting(one), Wanting(other), slots={KEYS.name(one): 7, KEYS.name(other): 9})
    assert {slot: page.call().slot for slot, page in made.pages.items()} == {7: 7, 9: 9}


def test_a_floor_is_named_with_each_of_its_keys() -> None:
    made = batch(Wanting(spend()), Wanting(spend("per-route"), spend(cost=2.0)), floor=5.0)
    assert values(made)[:7] == [3, 1, 5, 2, 5, 3, 5]
    assert values(batch(Wanting(spend())))[:1] == [0]


def test_a_batch_is_full_after_so_many_entries_but_not_for_those_that_join_one() -> None:
    made = batch(*[Wanting(spend(value="same")) for _ in range(10 * ENTRIES_MAX)])
    assert not made.full
    made = batch(*[Wanting(spend(value=str(number))) for number in range(ENTRIES_MAX)])
    assert made.full


def test_what_a_batch_does_not_hold_is_left() -> None:
    made = batch()
    assert made.fill([Wanting(spend(value=str(number))) for number in range(2 * ENTRIES_MAX)]) == ENTRIES_MAX
    assert made.fill([Wanting(spend(value="late"))]) == 0


def test_a_batch_is_full_after_so_many_keys() -> None:
    nested = [
        Wanting(*[spend(f"limit-{limit}", str(number)) for limit in range(8)])
        for number in range(KEYS_MAX // 8)
    ]
    assert batch(*nested).full
    assert not batch(*nested[:-1]).full
