"""A worker's part of a rate."""

from __future__ import annotations

from authz.model.limit import Rate


def test_one_process_has_the_whole() -> None:
    rate = Rate(100.0, 200.0, 60)
    assert rate.share(1) is rate


def test_several_have_equal_parts_and_know_the_whole() -> None:
    rate = Rate(100.0, 200.0, 60)
    assert rate.share(4) == Rate(25.0, 50.0, 60, rate)


def test_no_part_is_less_than_a_token() -> None:
    assert Rate(1.0, 3.0).share(8).burst_tokens == 1.0
