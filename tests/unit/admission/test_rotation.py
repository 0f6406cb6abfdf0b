"""What stands in the Secret next: each stage in its time, whatever the clock does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authz.admission.certificate import DAY_S, LIFETIME_S, fault, mint
from authz.admission.rotation import OVERLAP_S, RENEW_LEFT_S, RETIRE_S, Held, Own, advance
from authz.admission.secret import decode, encode

NAMES = ("hook.shop.svc",)
NOW_S = 1_800_000_000.0
FIRST, SECOND = mint(NAMES, NOW_S), mint(NAMES, NOW_S)
FRESH = Own(FIRST, agreed=False)
SERVED = Own(FIRST, agreed=True)
STEADY = Held(FIRST, None, b"", NOW_S)
STAGED = Held(FIRST, SECOND, b"", NOW_S)
DUE_S = NOW_S + LIFETIME_S - RENEW_LEFT_S + 1


def _next(held: Held | None, own: Own = SERVED, now_s: float = NOW_S, known: bytes | None = None) -> Held:
    bundle = (held.bundle() if held is not None else b"") if known is None else known
    return advance(held, own, NAMES, now_s, known=bundle)


def test_nothing_happens_while_nothing_is_due() -> None:
    assert _next(STEADY) is STEADY
    assert _next(STEADY, now_s=DUE_S - 2) is STEADY


def test_the_first_replica_brings_its_own() -> None:
    assert _next(None, FRESH) == STEADY


def test_the_first_replica_makes_another_where_its_own_was_made_by_a_wrong_clock() -> None:
    wrong = Own(mint(NAMES, NOW_S + 400 * DAY_S), agreed=False)
    found = _next(None, wrong)
    assert found.current != wrong.generation
    assert fault(found.current, NAMES, NOW_S) == ""


def test_a_secret_that_went_comes_back_as_it_is_known_and_with_a_successor() -> None:
    found = _next(None, SERVED)
    assert found.current == FIRST
    assert found.following is not None
    assert found.bundle() == FIRST.ca + found.following.ca


def test_a_month_before_the_end_a_successor_is_staged() -> None:
    found = _next(STEADY, now_s=DUE_S)
    assert (found.current, found.since_s) == (FIRST, DUE_S)
    assert found.following is not None
    assert fault(found.following, NAMES, DUE_S) == ""


def test_the_successor_waits_until_it_is_known_everywhere() -> None:
    assert _next(STAGED, now_s=NOW_S + OVERLAP_S - 1) is STAGED
    assert _next(STAGED, now_s=NOW_S + OVERLAP_S, known=FIRST.ca) is STAGED
    found = _next(STAGED, now_s=NOW_S + OVERLAP_S)
    assert found == Held(SECOND, None, FIRST.ca, NOW_S + OVERLAP_S)
    assert found.bundle() == SECOND.ca + FIRST.ca


def test_the_ca_before_leaves_a_day_later() -> None:
    held = Held(SECOND, None, FIRST.ca, NOW_S)
    assert _next(held, now_s=NOW_S + RETIRE_S - 1) is held
    assert _next(held, now_s=NOW_S + RETIRE_S).bundle() == SECOND.ca


def test_a_successor_that_is_no_good_is_dropped() -> None:
    held = replace(STAGED, following=replace(SECOND, key=b"nonsense"))
    assert _next(held, now_s=NOW_S + 1) == Held(FIRST, None, b"", NOW_S + 1)


def test_what_expired_while_nobody_looked_is_replaced_at_once_by_what_is_good() -> None:
    late_s = NOW_S + LIFETIME_S + 1
    successor = mint(NAMES, late_s - DAY_S)
    assert _next(replace(STAGED, following=successor), now_s=late_s).current == successor
    assert _next(STEADY, Own(successor, agreed=False), now_s=late_s).current == successor
    found = _next(STEADY, now_s=late_s)
    assert fault(found.current, NAMES, late_s) == ""
    assert found.previous_ca == b"", "its CA expired with it"


@pytest.mark.parametrize("part", ["ca", "cert", "key"])
def test_a_damaged_part_is_replaced_by_what_is_served(part: str) -> None:
    damaged = replace(STEADY, current=replace(FIRST, **{part: b"nonsense"}))
    found = _next(damaged)
    assert found.current == FIRST
    assert found.following is None


def test_a_new_name_needs_a_new_certificate_and_the_old_ca_stays_for_those_who_serve_it() -> None:
    names = (*NAMES, "other.shop.svc")
    found = advance(STEADY, SERVED, names, NOW_S, known=STEADY.bundle())
    assert fault(found.current, names, NOW_S) == ""
    assert found.previous_ca == FIRST.ca


def test_a_clock_that_was_set_back_begins_the_stage_anew_rather_than_in_a_year() -> None:
    held = replace(STAGED, since_s=NOW_S + 365 * DAY_S)
    found = _next(held)
    assert found == replace(held, since_s=NOW_S)
    assert _next(found, now_s=NOW_S + OVERLAP_S).current == SECOND


def test_a_year_of_days_never_shows_what_is_not_known() -> None:
    held, now_s, served = _next(None, FRESH), NOW_S, set()
    known = held.bundle()
    for _ in range(365 * 2):
        now_s += DAY_S / 2
        held = advance(held, Own(held.current, agreed=True), NAMES, now_s, known=known)
        assert held.current.ca in known
        assert fault(held.current, NAMES, now_s) == ""
        known = held.bundle()
        served.add(held.current.cert)
    assert len(served) == 7, "one each sixty days"


def test_a_bundle_holds_no_broken_ca() -> None:
    assert replace(STEADY, previous_ca=b"nonsense").bundle() == FIRST.ca


@pytest.mark.parametrize("held", [STEADY, STAGED, Held(SECOND, FIRST, FIRST.ca, 1.25)])
def test_a_secret_holds_all_of_it(held: Held) -> None:
    assert decode(encode(held)) == held


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"since": "MS4w"},
        {**encode(STEADY), "since": ""},
        {**encode(STEADY), "since": "bmFu"},  # nan
        {**encode(STEADY), "tls.key": "not base64!"},
        {name: text for name, text in encode(STEADY).items() if name != "ca.crt"},
    ],
)
def test_what_we_did_not_write_is_nothing(data: dict[str, str] | None) -> None:
    assert decode(data) is None


def test_half_a_successor_is_none() -> None:
    data = encode(STAGED)
    del data["next.tls.key"]
    assert decode(data) == STEADY
