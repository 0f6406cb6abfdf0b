"""Numbers of several processes as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from authz.model.latency import Durations
from authz.record.catalogue import METRICS
from authz.record.facts import Facts, StoreFacts
from authz.record.ledger import Changes, Ledger
from authz.record.metrics import SUM, Metrics, Page, Sample
from authz.record.tally import Tally
from tests.support.answers import allowed

CHECKS = "authz_checks_total"
ALLOW = ("allow", "allowed")


def checks(count: float) -> dict[str, Sequence[Sample]]:
    return {CHECKS: [(ALLOW, count)]}


def number(samples: Mapping[str, Sequence[Sample]], metric: str, labels: tuple[str, ...]) -> float:
    return dict(samples.get(metric, ())).get(labels, 0.0)


def test_only_what_changed_is_told() -> None:
    changes = Changes()
    before: dict[str, Sequence[Sample]] = {
        CHECKS: [(ALLOW, 1.0), (("deny", "not_ready"), 2.0)],
        "authz_buckets": [(("memory",), 3.0)],
    }
    assert len(changes.since(before)) == 3
    assert changes.since(before) == []
    after: dict[str, Sequence[Sample]] = {CHECKS: [(ALLOW, 4.0), (("deny", "not_ready"), 2.0)]}
    assert changes.since(after) == [(CHECKS, ALLOW, 4.0), ("authz_buckets", ("memory",), None)]


def test_counters_add_up_and_gauges_do_as_their_shape_says() -> None:
    ledger = Ledger()
    for worker, loaded, waiting, up in (("0", 20.0, 3.0, 1.0), ("1", 10.0, 4.0, 0.0)):
        ledger.take(
            worker,
            [
                (CHECKS, ALLOW, 5.0),
                ("authz_snapshot_loaded_timestamp_seconds", (), loaded),
                ("authz_records_waiting", ("stdout",), waiting),
                ("authz_store_up", ("memory",), up),
                ("authz_build_info", ("0.1.0", "3.11"), 1.0),
            ],
        )
    samples = ledger.samples()
    assert number(samples, CHECKS, ALLOW) == 10
    assert number(samples, "authz_snapshot_loaded_timestamp_seconds", ()) == 10
    assert number(samples, "authz_records_waiting", ("stdout",)) == 7
    assert number(samples, "authz_store_up", ("memory",)) == 0
    assert number(samples, "authz_build_info", ("0.1.0", "3.11")) == 1


def test_what_an_ended_worker_counted_stays_and_what_it_was_goes() -> None:
    ledger = Ledger()
    ledger.take("0", [(CHECKS, ALLOW, 5.0), ("authz_buckets", ("memory",), 3.0)])
    ledger.ended("0")
    ledger.ended("0")
    ledger.take("0", [(CHECKS, ALLOW, 2.0)])
    assert number(ledger.samples(), CHECKS, ALLOW) == 7
    assert "authz_buckets" not in ledger.samples()


def test_a_gauge_that_is_gone_is_gone() -> None:
    ledger = Ledger()
    ledger.take("0", [("authz_snapshot_revision_info", ("a", ""), 1.0)])
    ledger.take("0", [("authz_snapshot_revision_info", ("a", ""), None), ("authz_buckets", ("x",), None)])
    assert ledger.samples() == {}


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_no_counter_ever_goes_back_whoever_dies_and_none_is_lost(seed: int, count: int) -> None:
    random, ledger = Random(seed), Ledger()
    workers = {str(index): (Changes(), [0.0]) for index in range(count)}
    seen, told, dead = [], 0.0, 0.0
    for _ in range(60):
        name = random.choice(sorted(workers))
        changes, held = workers[name]
        held[0] += random.randrange(3)
        if random.random() < 0.6:
            ledger.take(name, changes.since(checks(held[0])))
        elif random.random() < 0.3:
            ledger.take(name, changes.since(checks(held[0])))
            ledger.ended(name)
            dead += held[0]
            workers[name] = (Changes(), [0.0])
        seen.append(number(ledger.samples(), CHECKS, ALLOW))
    for name, (changes, held) in workers.items():
        ledger.take(name, changes.since(checks(held[0])))
        told += held[0]
    assert all(before <= after for before, after in pairwise(seen))
    assert number(ledger.samples(), CHECKS, ALLOW) == told + dead


def test_the_page_of_two_is_that_of_one_who_counted_both() -> None:
    tallies = [Tally(), Tally()]
    for at, tally in enumerate(tallies):
        for _ in range(at + 1):
            tally.add(allowed())
    ledger = Ledger()
    for at, tally in enumerate(tallies):
        ledger.take(str(at), Changes().since(Metrics([tally], Facts()).samples()))
    ours = [
        line for line in _lines(Page(ledger.samples).render()) if b"duration" in line or b"checks" in line
    ]
    alone = [line for line in _lines(Metrics(tallies, Facts()).render()) if line in ours]
    assert ours == alone
    assert any(line.startswith(b"authz_check_duration_seconds_count 3") for line in ours)


def _lines(page: bytes) -> list[bytes]:
    return [line for line in page.splitlines() if line.startswith(b"authz_") and b"_sum" not in line]


def test_every_metric_says_how_several_become_one() -> None:
    assert {shape.merge for shape in METRICS.values()} <= {"sum", "max", "min"}
    assert all(shape.merge == "sum" for shape in METRICS.values() if shape.kind != "gauge")
    assert SUM not in {str(bound) for bound in range(10)}


def test_the_stores_of_several_workers_are_one() -> None:
    """Counters, waiting checks and connections add up; that one of them is evicted from counts for all."""
    ledger = Ledger()
    for worker, evicts in (("0", False), ("1", True)):
        trips = Durations()
        trips.add(400)
        links = {"up": 1, "down": 0}
        facts = StoreFacts("redis", trips, {"answered": 1}, {"asked": 2}, 1, 3, links, 1, evicts)
        store = partial(StoreFacts._make, facts)
        ledger.take(worker, Changes().since(Metrics([], Facts(store=store)).samples()))
    samples = ledger.samples()
    for metric, labels, value in (
        ("authz_store_calls_total", ("redis", "answered"), 2),
        ("authz_store_checks_total", ("redis", "asked"), 4),
        ("authz_store_coalesced_total", ("redis",), 2),
        ("authz_store_waiting", ("redis",), 6),
        ("authz_store_links", ("redis", "up"), 2),
        ("authz_store_links", ("redis", "down"), 0),
        ("authz_store_connects_total", ("redis",), 2),
        ("authz_store_evicts", ("redis",), 1),
        ("authz_store_round_trip_seconds", ("0.0005",), 2),
        ("authz_store_round_trip_seconds", (SUM,), 0.0008),
    ):
        assert number(samples, metric, labels) == value, metric
    ledger.ended("0")
    left = ledger.samples()
    assert number(left, "authz_store_calls_total", ("redis", "answered")) == 2
    assert number(left, "authz_store_links", ("redis", "up")) == 1
    assert number(left, "authz_store_round_trip_seconds", ("0.0005",)) == 2
