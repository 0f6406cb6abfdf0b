"""Decision ids: UUIDv7 that never repeat and sort by time."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from authz.transport.mint import Mint

NOW_US = 1_780_000_000_123_456


def test_an_id_is_a_uuid_of_version_7_in_canonical_form() -> None:
    mint = Mint()
    for number in range(200):
        text = mint.make(NOW_US + number * 500)
        parsed = UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, RFC_4122, text)


def test_an_id_begins_with_its_millisecond() -> None:
    assert UUID(Mint().make(NOW_US)).int >> 80 == NOW_US // 1000


def test_ids_never_repeat_within_a_moment_or_over_moments() -> None:
    mint = Mint()
    made = [mint.make(NOW_US + number // 64) for number in range(10_000)]
    assert len(set(made)) == len(made)


def test_ids_of_one_moment_sort_in_the_order_in_which_they_were_made() -> None:
    mint = Mint()
    made = [mint.make(NOW_US) for _ in range(1000)]
    assert made == sorted(made)


def test_a_counter_that_is_used_up_draws_anew() -> None:
    mint = Mint(seed=1)
    first = mint.make(NOW_US)
    mint._tail = (1 << 48) - 1
    last, fresh = mint.make(NOW_US), mint.make(NOW_US)
    assert last.endswith("-ffffffffffff")
    assert len(fresh) == len(first)
    assert fresh[:23] != first[:23]


def test_two_mints_do_not_share_their_ids() -> None:
    assert Mint().make(NOW_US) != Mint().make(NOW_US)
