"""Which limits clients are told of, in which order and in which form."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.config.rooms import LimitSettings
from authz.model.limit import Rate, Spent, Store
from authz.response.limits import LIMITS_TOLD, Form, headers_in, ordered, refusing


def spent(
    limit: str,
    *,
    remaining: int = 4,
    retry_ms: int = 0,
    full_s: int = 9,
    rate: Rate | None = None,
) -> Spent:
    """A bucket that had room where it need not be waited for."""
    passed = retry_ms == 0
    return Spent(limit, passed, remaining, retry_ms, full_s, rate or Rate(100.0, 200.0), Store.MEMORY)


def names(*buckets: Spent) -> list[str]:
    return [bucket.limit for bucket in ordered(buckets)]


# --- the order


def test_what_refuses_comes_first_and_the_longest_wait_before_all() -> None:
    assert names(
        spent("room"), spent("soon", retry_ms=1), spent("never", retry_ms=-1), spent("late", retry_ms=9000)
    ) == ["never", "late", "soon", "room"]


def test_of_what_had_room_the_tightest_comes_first() -> None:
    """By its share: nine of ten thousand are fewer than five of ten."""
    wide, narrow = Rate(1.0, 10_000.0), Rate(1.0, 10.0)
    assert names(spent("half", remaining=5, rate=narrow), spent("low", remaining=9, rate=wide)) == [
        "low",
        "half",
    ]


_TOLD = st.tuples(st.sampled_from("abcdef"), st.sampled_from([-1, 0, 5]), st.integers(0, 3))


@given(st.lists(_TOLD, max_size=6, unique_by=lambda told: told[0]), st.randoms())
def test_the_order_follows_from_what_there_is_and_not_from_how_it_came(
    told: list[tuple[str, int, int]], dice: random.Random
) -> None:
    buckets = [spent(name, retry_ms=wait, remaining=left) for name, wait, left in told]
    shuffled = dice.sample(buckets, len(buckets))
    assert list(ordered(buckets)) == list(ordered(shuffled))


def test_only_those_that_refused_are_named_and_not_without_end() -> None:
    buckets = ordered([spent("room"), spent("b", retry_ms=5), spent("a", retry_ms=5)])
    assert refusing(buckets) == ("a", "b")
    many = ordered([spent(str(number), retry_ms=5) for number in range(99)])
    assert len(refusing(many)) == LIMITS_TOLD


# --- the forms


def test_every_form_can_be_set() -> None:
    annotation = LimitSettings.model_fields["limit_headers"].annotation
    assert set(get_args(annotation)) == set(get_args(Form))


def test_the_draft_tells_of_every_limit() -> None:
    states = (
        spent("per-key", retry_ms=1001),
        spent("per-day", rate=Rate(5 / 86400, 5.0, 86400)),
        spent("slow", retry_ms=-1, rate=Rate(1 / 86400, 1.0, 86400)),
    )
    assert dict(headers_in("draft", states)) == {
        "ratelimit-policy": '"per-key";q=100;w=1, "per-day";q=5;w=86400, "slow";q=1;w=86400',
        "ratelimit": '"per-key";r=4;t=2, "per-day";r=4;t=9, "slow";r=4;t=9',
    }


@pytest.mark.parametrize(("form", "prefix"), [("triple", "ratelimit"), ("x-ratelimit", "x-ratelimit")])
def test_three_numbers_tell_of_the_first_limit(form: Form, prefix: str) -> None:
    states = ordered([spent("roomy", remaining=150), spent("empty", remaining=0, retry_ms=1001)])
    assert headers_in(form, states) == (
        (f"{prefix}-limit", "200"),
        (f"{prefix}-remaining", "0"),
        (f"{prefix}-reset", "2"),
    )


def test_reset_is_when_the_bucket_is_full_again_where_nothing_was_refused() -> None:
    assert headers_in("triple", (spent("l", full_s=9),))[2] == ("ratelimit-reset", "9")


def test_off_tells_nothing() -> None:
    assert headers_in("off", (spent("l", retry_ms=5),)) == ()


@given(st.integers(1, 10**9))
def test_no_form_says_that_there_is_room_too_early(wait_ms: int) -> None:
    state = (spent("l", retry_ms=wait_ms),)
    assert int(dict(headers_in("triple", state))["ratelimit-reset"]) * 1000 >= wait_ms
    assert int(dict(headers_in("draft", state))["ratelimit"].rpartition("t=")[2]) * 1000 >= wait_ms


@given(st.integers(0, 10**6), st.floats(1.0, 1000.0), st.integers(1, 64))
def test_never_more_remains_than_there_is(remaining: int, burst: float, workers: int) -> None:
    state = (spent("l", remaining=remaining, rate=Rate(1.0, burst).share(workers)),)
    told = dict(headers_in("triple", state))
    assert int(told["ratelimit-remaining"]) <= int(told["ratelimit-limit"]) == int(burst)


def test_a_worker_names_the_rate_that_was_written_and_not_its_share() -> None:
    state = (spent("per-key", rate=Rate(100.0, 100.0).share(4)),)
    assert dict(headers_in("draft", state))["ratelimit-policy"] == '"per-key";q=100;w=1'
    assert dict(headers_in("x-ratelimit", state))["x-ratelimit-limit"] == "100"


def test_only_the_first_of_very_many_are_told() -> None:
    states = [spent(str(number)) for number in range(99)]
    assert dict(headers_in("draft", states))["ratelimit"].count('"') == 2 * LIMITS_TOLD
