"""The guard's buckets: what is charged, for how long, and how much memory a flood of networks takes."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import count
from threading import Thread

import pytest

from authz.limits.guard import Guard
from authz.model.decision import Allow, Decision, Deny, Grant
from authz.model.limit import Rate
from authz.model.reason import Detail, Reason, status_of
from authz.model.request import NOWHERE, Client
from authz.model.site import DEFAULT_SITE, Site
from authz.request.client import direct
from tests.support.requests import client

SITE = Site(name="items", guard=Rate(2.0, 3.0))
BAD = Deny(Reason.CREDENTIAL_INVALID, Detail.KEY_UNKNOWN)
HERE, THERE = client("203.0.113.7"), client("203.0.113.8")
S = 1_000_000


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def guard(clock: Hand) -> Guard:
    return Guard(clock)


def use_up(guard: Guard, who: Client = HERE, site: Site = SITE, times: int = 3) -> None:
    for _ in range(times):
        guard.charge(site, who, BAD)


# --- the burst and the rate


def test_the_burst_may_be_used_up_and_not_a_fault_more(guard: Guard) -> None:
    for _ in range(3):
        assert guard.wait_ms(SITE, HERE) == 0
        guard.charge(SITE, HERE, BAD)
    assert guard.wait_ms(SITE, HERE) == 500


def test_the_wait_is_over_to_the_microsecond_when_one_fault_has_refilled(guard: Guard, clock: Hand) -> None:
    use_up(guard)
    clock.now_us = S // 2 - 1
    assert guard.wait_ms(SITE, HERE) == 1
    clock.now_us = S // 2
    assert guard.wait_ms(SITE, HERE) == 0
    guard.charge(SITE, HERE, BAD)
    assert guard.wait_ms(SITE, HERE) == 500


def test_a_long_rest_refills_the_burst_and_no_more(guard: Guard, clock: Hand) -> None:
    use_up(guard)
    clock.now_us = 3600 * S
    use_up(guard, times=2)
    assert guard.wait_ms(SITE, HERE) == 0
    use_up(guard, times=1)
    assert guard.wait_ms(SITE, HERE) == 500


def test_a_flood_of_bad_requests_is_owed_for_only_as_long_as_it_lasts(guard: Guard, clock: Hand) -> None:
    """A 400 is charged even while the network is refused; nobody waits an hour for it afterwards."""
    for _ in range(10_000):
        guard.charge(SITE, HERE, Deny(Reason.BAD_REQUEST, Detail.PATH_INVALID))
    assert guard.wait_ms(SITE, HERE) == 500
    clock.now_us = 2 * S
    assert guard.wait_ms(SITE, HERE) == 0


def test_a_clock_that_goes_back_refills_nothing(guard: Guard, clock: Hand) -> None:
    clock.now_us = 10 * S
    use_up(guard)
    clock.now_us = S
    assert guard.wait_ms(SITE, HERE) == 500
    guard.charge(SITE, HERE, BAD)
    clock.now_us = 10 * S
    assert guard.wait_ms(SITE, HERE) == 500


def test_another_rate_of_a_new_policy_set_counts_from_now_on(guard: Guard) -> None:
    wide = Site(name="items", guard=Rate(1.0, 1000.0))
    use_up(guard, site=wide, times=1000)
    assert guard.wait_ms(SITE, HERE) == 500  # not the 499 seconds that the old debt would take
    assert guard.wait_ms(Site(name="items", guard=Rate(1.0, 2000.0)), HERE) == 0
    assert guard.wait_ms(Site(name="items"), HERE) == 0


# --- who shares a bucket


def test_networks_and_sites_are_apart(guard: Guard) -> None:
    use_up(guard)
    assert guard.wait_ms(SITE, THERE) == 0
    assert guard.wait_ms(Site(name="pages", guard=SITE.guard), HERE) == 0
    assert len(guard) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("2001:db8::1", "2001:db8::ffff:1:2:3"),
        ("2001:db8::1", "2001:0DB8:0:0:1::"),
    ],
)
def test_mapped_addresses_and_one_64_are_one_network(guard: Guard, one: str, other: str) -> None:
    use_up(guard, direct(one, 1))
    assert guard.wait_ms(SITE, direct(other, 2)) == 500


def test_the_next_64_is_another_network(guard: Guard) -> None:
    use_up(guard, direct("2001:db8::1", 1))
    assert guard.wait_ms(SITE, direct("2001:db8:0:1::1", 1)) == 0


def test_clients_without_an_address_are_neither_charged_nor_refused(guard: Guard) -> None:
    use_up(guard, NOWHERE, times=100)
    assert guard.wait_ms(SITE, NOWHERE) == 0
    assert len(guard) == 0


def test_a_site_without_a_guard_charges_nobody(guard: Guard) -> None:
    use_up(guard, site=DEFAULT_SITE, times=100)
    assert guard.wait_ms(DEFAULT_SITE, HERE) == 0
    assert len(guard) == 0


# --- what is charged


CHARGED = {Reason.CREDENTIAL_MISSING, Reason.CREDENTIAL_AMBIGUOUS, Reason.CREDENTIAL_INVALID}


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.BAD_REQUEST])
def test_of_all_reasons_only_those_about_credentials_are_charged(guard: Guard, reason: Reason) -> None:
    guard.charge(SITE, HERE, Deny(reason))
    assert len(guard) == (reason in CHARGED)


BAD_REQUESTS = [detail for detail in Detail if status_of(Reason.BAD_REQUEST, detail) == 400]
OTHERWISE_BAD = {
    Detail.TOO_LARGE,
    Detail.PATH_TOO_LONG,
    Detail.HOST_NOT_SERVED,
    Detail.HEADERS_TOO_LARGE,
    Detail.METHOD_NOT_ALLOWED,
}


@pytest.mark.parametrize("detail", [None, *BAD_REQUESTS])
def test_every_400_is_charged(guard: Guard, detail: Detail | None) -> None:
    guard.charge(SITE, HERE, Deny(Reason.BAD_REQUEST, detail))
    assert len(guard) == 1


@pytest.mark.parametrize("detail", OTHERWISE_BAD)
def test_405_413_414_421_and_431_are_not_charged(guard: Guard, detail: Detail) -> None:
    assert status_of(Reason.BAD_REQUEST, detail) in {405, 413, 414, 421, 431}
    guard.charge(SITE, HERE, Deny(Reason.BAD_REQUEST, detail))
    assert len(guard) == 0


def test_an_allowed_request_is_not_charged(guard: Guard) -> None:
    decision: Decision = Allow(Grant((), (), ()))
    guard.charge(SITE, HERE, decision)
    assert len(guard) == 0


# --- bounded memory


def number(value: int) -> Client:
    """Return the client of a network of its own, without the caches of reading."""
    return client(f"{10 + (value >> 24)}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}")


def test_networks_that_owe_nothing_any_more_make_room(guard: Guard, clock: Hand) -> None:
    for value in range(100):
        clock.now_us += S
        guard.charge(SITE, number(value), BAD)
    assert len(guard) <= 2
    assert guard.forgotten == 0


def test_where_memory_is_full_who_owes_least_is_forgotten(clock: Hand) -> None:
    guard = Guard(clock, max_networks=8)
    use_up(guard)
    for value in range(7):
        guard.charge(SITE, number(value), BAD)
    for value in range(100, 150):
        guard.charge(SITE, number(value), BAD)
        assert len(guard) == 8
        assert guard.wait_ms(SITE, number(value)) == 0  # a stranger is never refused for want of room
    assert guard.wait_ms(SITE, HERE) == 500  # while whoever used up the burst is not forgotten
    assert guard.forgotten == 50


def test_a_flood_of_networks_with_one_fault_each_forgets_no_abuser(clock: Hand) -> None:
    guard = Guard(clock, max_networks=1000)
    abusers = [number(value << 20) for value in range(1, 21)]
    for who in abusers:
        use_up(guard, who)
    for value in range(1, 20_000):
        guard.charge(SITE, number(value), BAD)
    assert len(guard) == 1000
    assert all(guard.wait_ms(SITE, who) == 500 for who in abusers)


def test_fifty_thousand_networks_take_bounded_memory(clock: Hand) -> None:
    guard = Guard(clock, max_networks=5000)
    numbers = count()

    def flood(networks: int) -> int:
        for _, value in zip(range(networks), numbers, strict=False):
            guard.charge(SITE, Client("", f"{value}/32", 0, 4, value), BAD)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        full = flood(10_000)
        after = flood(40_000)
    finally:
        tracemalloc.stop()
    assert len(guard) == len(guard._oldest) == 5000
    assert guard.forgotten == 45_000
    assert after - full < 200_000  # bytes; the 40,000 would be 13 MB
    assert full < 5000 * 500


def test_no_fault_is_lost_between_threads(guard: Guard) -> None:
    site = Site(name="items", guard=Rate(1e-6, 40_000.0))
    threads = [Thread(target=use_up, args=(guard, HERE, site, 10_000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guard.wait_ms(site, HERE) > 0
