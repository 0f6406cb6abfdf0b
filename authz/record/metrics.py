"""What Prometheus scrapes. Nothing here runs between scrapes: numbers are fetched when somebody asks.

Series appear on first use. What there is stands in `catalogue.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from authz.model.latency import BUCKETS_US
from authz.model.reason import Outcome, Reason
from authz.record.catalogue import METRICS, Shape
from authz.record.facts import (
    AgeFacts,
    Facts,
    FleetFacts,
    GuardFacts,
    LoadFacts,
    RecordFacts,
    SnapshotFacts,
    StoreFacts,
    TlsFacts,
)
from authz.record.tally import Tally, total

_ENFORCE, _SHADOW, _OVERRIDE = "enforce", "shadow", "override"

_BOUNDS = (*(str(bound / 1_000_000) for bound in BUCKETS_US), "+Inf")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


Sample = tuple[tuple[str, ...], float]  # values of the labels, and the number
Samples = Mapping[str, Sequence[Sample]]  # by metric; of a histogram: its counts by bound, and its `SUM`

SUM = "sum"


class Page:
    """What `/metrics` shows of samples, whoever counted them.

    Args:
        fetch: returns the samples as they are now; called once a scrape, by its thread.
    """

    def __init__(self, fetch: Callable[[], Samples]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(fetch))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the page in Prometheus's text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class Metrics:
    """Everything that one process counts, and the page of a process that serves alone.

    Args:
        tallies: of every judging thread; more may be added while serving.
    """

    def __init__(self, tallies: Sequence[Tally], facts: Facts) -> None:
        self._tallies = tallies
        self._facts = facts
        self._page = Page(self.samples)

    def samples(self) -> Samples:
        """Return every number as it is now."""
        own = {**_counted(total(self._tallies)), **_fetched(self._facts)}
        return joined(own, self._facts.shipped())

    def render(self) -> bytes:
        """Return the page in Prometheus's text format, `CONTENT_TYPE`."""
        return self._page.render()


def joined(ours: Samples, theirs: Samples) -> Samples:
    """Return all samples; series of one metric may come from both."""
    return {metric: [*ours.get(metric, ()), *theirs.get(metric, ())] for metric in {**ours, **theirs}}


class _Collector(Collector):
    """Turns samples into families, in the order of METRICS."""

    def __init__(self, fetch: Callable[[], Samples]) -> None:
        self._fetch = fetch

    def collect(self) -> Iterator[Metric]:
        """Return every family, as it is now."""
        samples = self._fetch()
        for name, shape in METRICS.items():
            if shape.kind == "histogram":
                yield _histogram(name, shape, samples.get(name, ()))
            else:
                yield _family(name, shape, samples.get(name, ()))


def _family(name: str, shape: Shape, samples: Iterable[Sample]) -> Metric:
    family: CounterMetricFamily | GaugeMetricFamily
    if shape.kind == "counter":
        family = CounterMetricFamily(name, shape.help, labels=shape.labels)
    else:
        family = GaugeMetricFamily(name, shape.help, labels=shape.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(name: str, shape: Shape, samples: Iterable[Sample]) -> Metric:
    counts = {bound: count for (bound,), count in samples}
    family = HistogramMetricFamily(name, shape.help)
    if not counts:
        return family
    sums = accumulate(counts.get(bound, 0.0) for bound in _BOUNDS)
    buckets = list(zip(_BOUNDS, map(float, sums), strict=True))
    family.add_metric((), buckets, sum_value=counts.get(SUM, 0.0))
    return family


def _counted(counts: Tally) -> dict[str, list[Sample]]:
    rules = [(name, Outcome.ALLOW, count) for name, count in counts.rules_allowed.items()]
    rules += [(name, Outcome.DENY, count) for name, count in counts.rules_denied.items()]
    return {
        "authz_checks_total": [
            ((_outcome(reason), reason), count) for reason, count in counts.reasons.items()
        ],
        "authz_check_duration_seconds": _durations(counts.durations, counts.duration_sum_us),
        "authz_rule_decisions_total": [
            ((name.policy, name.rule, _ENFORCE, outcome), count) for name, outcome, count in rules
        ]
        + [
            ((name.policy, name.rule, _OVERRIDE, Outcome.DENY), count)
            for name, count in counts.rules_overriding.items()
        ]
        + [
            ((policy, rule, _SHADOW, would), count)
            for (policy, rule, would), count in counts.shadow_rules.items()
        ],
        "authz_limit_decisions_total": [
            ((limit, _ENFORCE, store, Outcome.ALLOW if passed else Outcome.DENY), count)
            for (limit, store, passed), count in counts.limits.items()
        ]
        + [
            ((limit, _SHADOW, store, would), count)
            for (limit, store, would), count in counts.shadow_limits.items()
        ],
        "authz_limit_near_total": [((limit,), count) for limit, count in counts.limits_near.items()],
        "authz_shadow_changes_total": list(counts.changes.items()),
        "authz_shadow_crashes_total": [((), counts.shadow_crashes)] if counts.shadow_crashes else [],
    }


def _durations(counts: Sequence[int], sum_us: int) -> list[Sample]:
    by_bound = zip(_BOUNDS, counts, strict=True)
    return [*(((bound,), count) for bound, count in by_bound), ((SUM,), sum_us / 1_000_000)]


def _outcome(reason: Reason) -> Outcome:
    return Outcome.ALLOW if reason is Reason.ALLOWED else Outcome.DENY


def _fetched(facts: Facts) -> dict[str, list[Sample]]:
    return {
        "authz_rate_limits_enabled": [((), float(facts.rate_limits))],
        "authz_buckets": [((store,), count) for store, count in facts.buckets().items()],
        "authz_store_up": [((store,), float(up)) for store, up in facts.stores().items()],
        "authz_reloads_total": [((result,), count) for result, count in facts.reloads().items()],
        "authz_build_info": [((facts.version, platform.python_version()), 1.0)],
        **_of_fleet(facts.fleet()),
        **_of_store(facts.store()),
        **_of_guard(facts.guard()),
        **_of_snapshot(facts.snapshot()),
        **_of_age(facts.age()),
        **_of_loading(facts.loading()),
        **_of_tls(facts.tls()),
        **_of_records(facts.records()),
    }


def _of_fleet(fleet: FleetFacts | None) -> dict[str, list[Sample]]:
    if fleet is None:
        return {}
    return {
        "authz_fleet_members": [((), fleet.members)],
        "authz_store_outages_total": [((fleet.store,), fleet.outages)],
    }


def _of_store(facts: StoreFacts | None) -> dict[str, list[Sample]]:
    if facts is None:
        return {}
    store, trips = facts.store, facts.trips
    return {
        "authz_store_calls_total": [((store, result), count) for result, count in facts.calls.items()],
        "authz_store_round_trip_seconds": _durations(trips.counts.copy(), trips.sum_us),
        "authz_store_checks_total": [((store, how), count) for how, count in facts.checks.items()],
        "authz_store_coalesced_total": [((store,), facts.coalesced)],
        "authz_store_waiting": [((store,), facts.waiting)],
        "authz_store_links": [((store, state), count) for state, count in facts.links.items()],
        "authz_store_connects_total": [((store,), facts.connects)],
        "authz_store_evicts": [((store,), float(facts.evicts))] if facts.evicts is not None else [],
    }


def _of_guard(guard: GuardFacts | None) -> dict[str, list[Sample]]:
    return {
        "authz_guard_networks": [((), guard.networks)] if guard else [],
        "authz_guard_forgotten_total": [((), guard.forgotten)] if guard else [],
    }


def _of_snapshot(snapshot: SnapshotFacts | None) -> dict[str, list[Sample]]:
    expiry = snapshot.next_key_expiry_s if snapshot else None
    return {
        "authz_snapshot_revision_info": (
            [((snapshot.revision, snapshot.source_revision), 1.0)] if snapshot else []
        ),
        "authz_snapshot_loaded_timestamp_seconds": [((), snapshot.loaded_s)] if snapshot else [],
        "authz_key_next_expiry_timestamp_seconds": [((), expiry)] if expiry is not None else [],
        "authz_snapshot_overrides": [((), snapshot.overrides)] if snapshot else [],
        "authz_keys_disabled": [((), snapshot.keys_disabled)] if snapshot else [],
    }


def _of_age(age: AgeFacts | None) -> dict[str, list[Sample]]:
    if age is None:
        return {}
    return {
        "authz_snapshot_age_seconds": [((), age.age_s)],
        "authz_snapshot_stale": [((), float(age.stale))],
        "authz_snapshot_from_state": [((), age.from_state)],
        "authz_snapshot_needs_newer": [((), float(age.needs_newer))],
        "authz_state_writes_total": [((result,), count) for result, count in age.kept.items()],
        "authz_snapshot_part_rejected": [((part,), float(refused)) for part, refused in age.parts.items()],
    }


def _of_loading(loading: LoadFacts | None) -> dict[str, list[Sample]]:
    if loading is None:
        return {}
    return {
        "authz_reload_duration_seconds": [((), loading.took_s)],
        "authz_reload_running_seconds": [((), loading.running_s)],
        "authz_watch_told": [((), float(loading.told))],
        "authz_policy_mounts_frozen": [((), loading.frozen)],
    }


def _of_tls(facts: TlsFacts) -> dict[str, list[Sample]]:
    return {
        "authz_certificate_expiry_timestamp_seconds": [((name,), at) for name, at in facts.expiry_s.items()],
        "authz_certificate_reloads_total": [((result,), count) for result, count in facts.reloads.items()],
        "authz_strangers_total": [((), facts.strangers)] if facts.strangers else [],
    }


def _of_records(facts: Sequence[RecordFacts]) -> dict[str, list[Sample]]:
    results: list[Sample] = []
    for sink, counts in facts:
        by_result = (("written", counts.written), ("dropped", counts.dropped), ("lost", counts.lost))
        results += [((sink, result), count) for result, count in by_result if count]
    return {
        "authz_records_total": results,
        "authz_records_waiting": [((sink,), counts.waiting) for sink, counts in facts],
        "authz_record_errors_total": [((sink,), counts.errors) for sink, counts in facts if counts.errors],
    }
