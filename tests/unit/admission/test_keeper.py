"""The Secret and the configuration kept as they should be: by one replica, by two, without an API server."""

from __future__ import annotations

import ssl
from dataclasses import replace

from authz.admission import secret
from authz.admission.certificate import DAY_S, LIFETIME_S
from authz.admission.keeper import Keeper, Place
from authz.admission.numbers import Numbers
from authz.admission.rotation import OVERLAP_S, RENEW_LEFT_S, RETIRE_S, Held
from tests.support.kube import NOW_S, FakeKube

PLACE = Place("shop", "hook", "hook.shop", ("hook.shop.svc",))
RENEW_S = NOW_S + LIFETIME_S - RENEW_LEFT_S + 1


def _keeper(kube: FakeKube) -> Keeper:
    return Keeper(kube, PLACE, Numbers())


def _held(kube: FakeKube) -> Held:
    held = secret.decode(kube.stored)
    assert held is not None
    return held


def _bundle(kube: FakeKube) -> bytes:
    (bundle,) = set(kube.bundles.values())
    return bundle


def test_a_first_look_fills_the_secret_and_tells_every_webhook() -> None:
    kube = FakeKube(("pods.sidecar.authz", "services.sidecar.authz"))
    keeper = _keeper(kube)
    assert keeper.ready() == (False, "the API server was not reached yet")
    assert keeper.look()
    assert keeper.ready() == (True, "")
    assert kube.writes == ["write", "introduce"]
    assert _bundle(kube) == _held(kube).current.ca


def test_looks_that_find_all_well_write_nothing() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    kube.writes.clear()
    assert keeper.look()
    assert kube.writes == []


def test_a_bundle_that_somebody_emptied_is_written_again() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    known, kube.bundles = _bundle(kube), {"inject.sidecar.authz": b""}
    keeper.look()
    assert _bundle(kube) == known


def test_a_second_replica_serves_what_the_first_made() -> None:
    kube = FakeKube()
    first, second = _keeper(kube), _keeper(kube)
    first.look()
    before = second.secured()
    kube.writes.clear()
    assert second.look()
    assert kube.writes == []
    assert second.secured() is not before


def test_who_comes_second_reads_again() -> None:
    kube = FakeKube()
    kube.stored = {}
    kube.meanwhile = ["another wrote", "and another"]
    assert _keeper(kube).look()
    assert kube.writes == ["write", "introduce"]


def test_a_secret_that_changes_without_end_is_given_up_until_the_next_look() -> None:
    kube = FakeKube()
    kube.stored = {}
    kube.meanwhile = ["another wrote"] * 5
    keeper = _keeper(kube)
    assert not keeper.look()
    assert keeper.ready() == (False, "it changed")
    assert keeper.look()


def test_without_an_api_server_what_is_served_stays_and_stays_ready() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    served, kube.away = keeper.secured(), True
    kube.time_s += 10 * DAY_S
    assert not keeper.look()
    assert keeper.secured() is served
    assert keeper.ready() == (True, "the API server is away")
    kube.away = False
    assert keeper.look()
    assert keeper.ready() == (True, "")


def test_without_an_api_server_at_the_start_it_is_not_ready_but_there() -> None:
    kube = FakeKube()
    kube.away = True
    keeper = _keeper(kube)
    assert not keeper.look()
    assert keeper.ready() == (False, "the API server is away")
    assert isinstance(keeper.secured(), ssl.SSLContext)


def test_a_rotation_goes_through_its_stages_and_serves_only_what_is_known() -> None:
    kube = FakeKube()
    first, second = _keeper(kube), _keeper(kube)
    both = (first, second)
    [each.look() for each in both]
    old, contexts = _held(kube).current, [each.secured() for each in both]
    kube.time_s = RENEW_S
    [each.look() for each in both]
    staged = _held(kube)
    assert staged.following is not None
    assert _bundle(kube) == old.ca + staged.following.ca
    assert [each.secured() for each in both] == contexts
    kube.time_s += OVERLAP_S
    [each.look() for each in both]
    assert _held(kube).current == staged.following
    assert all(each.secured() not in contexts for each in both)
    assert _bundle(kube) == staged.following.ca + old.ca
    kube.time_s += RETIRE_S
    [each.look() for each in both]
    assert _bundle(kube) == staged.following.ca


def test_a_successor_is_not_served_while_the_bundle_is_not_written() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    kube.time_s = RENEW_S
    keeper.look()
    kube.bundles, kube.time_s = {"inject.sidecar.authz": b""}, RENEW_S + OVERLAP_S
    served = keeper.secured()
    keeper.look()
    assert keeper.secured() is served
    assert _held(kube).following is not None


def test_webhooks_that_differ_count_as_knowing_nothing() -> None:
    kube = FakeKube(("a.b.c", "d.e.f"))
    keeper = _keeper(kube)
    keeper.look()
    kube.bundles["a.b.c"] = b""
    keeper.look()
    assert _bundle(kube) == _held(kube).current.ca


def test_a_secret_that_is_gone_is_the_charts_to_bring_back_and_what_is_served_stays() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    served, kube.stored = keeper.secured(), None
    assert not keeper.look()
    assert keeper.ready() == (True, "the Secret shop/hook is gone: run `helm upgrade` again")
    assert keeper.secured() is served


def test_a_secret_emptied_under_a_running_webhook_comes_back_and_rotates() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    current, kube.stored = _held(kube).current, {}
    keeper.look()
    assert _held(kube).current == current
    assert _held(kube).following is not None


def test_a_damaged_secret_is_mended_with_what_is_served() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    held = _held(kube)
    kube.stored = secret.encode(replace(held, current=replace(held.current, key=b"nonsense")))
    keeper.look()
    assert _held(kube).current == held.current


def test_a_bug_of_ours_ends_nothing() -> None:
    kube = FakeKube()
    keeper = _keeper(kube)
    keeper.look()
    kube.bundles = None  # type: ignore[assignment]  # as no API server answers
    assert not keeper.look()
    assert keeper.ready() == (True, "a fault of the webhook's own (TypeError)")


def test_metrics_say_how_it_stands() -> None:
    kube, numbers = FakeKube(), Numbers()
    keeper = Keeper(kube, PLACE, numbers)
    keeper.look()
    kube.away = True
    keeper.look()
    page = numbers.page().decode()
    assert "authz_webhook_ready 1.0" in page
    assert f"authz_webhook_certificate_expiry_timestamp_seconds {NOW_S + LIFETIME_S:g}"[:50] in page
    assert 'authz_webhook_looks_total{result="failed"} 1.0' in page
    assert "authz_webhook_bundle_repairs_total 1.0" in page
