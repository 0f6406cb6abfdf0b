"""What Prometheus scrapes. Nothing here runs between scrapes: numbers are fetched when somebody asks.

Series appear on first use. Label values come from documents and enums, never from a request: a client could
otherwise fill the memory of whoever stores them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from authz.model.reason import Outcome, Reason
from authz.record.queue import RecordCounts
from authz.record.tally import BUCKETS_US, Tally, total

_ENFORCE, _SHADOW, _OVERRIDE = "enforce", "shadow", "override"

_BOUNDS = (*(str(bound / 1_000_000) for bound in BUCKETS_US), "+Inf")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Shape(NamedTuple):
    """One metric: what kind it is, its labels and its line in `docs/metrics.md`."""

    kind: str  # counter, gauge or histogram
    labels: tuple[str, ...]
    help: str
    merge: Literal["sum", "max", "min"] = "sum"  # how one series of several workers becomes one


METRICS: Mapping[str, Shape] = {
    "authz_checks_total": Shape(
        "counter", ("outcome", "reason"), "Checks answered; reasons: see reasons.md."
    ),
    "authz_check_duration_seconds": Shape("histogram", (), "From taking a call to handing over its reply."),
    "authz_rule_decisions_total": Shape(
        "counter",
        ("policy", "rule", "mode", "outcome"),
        "Decisions of each rule that allowed or denied; the setting `rule_series` bounds the series. In"
        " shadow also `none`, `error` and `undecidable`; where no rule decided, `rule` is empty. `mode` is"
        " `enforce`, `shadow`, or `override` of the overrides.",
    ),
    "authz_limit_decisions_total": Shape(
        "counter",
        ("limit", "mode", "store", "outcome"),
        "Decisions of each limit; a refused check charges none. In shadow also `error`, without a store,"
        " where `per` or `cost` failed.",
    ),
    "authz_shadow_changes_total": Shape(
        "counter",
        ("kind", "name", "outcome"),
        "Checks that would have ended with `outcome`, had this `policy` or `limit` been enforced and not in"
        " shadow.",
    ),
    "authz_shadow_crashes_total": Shape(
        "counter", (), "Documents in shadow that could not be asked for a bug of ours; the replies stood."
    ),
    "authz_rate_limits_enabled": Shape(
        "gauge", (), "0 where RATE_LIMIT_ENABLED switches every limit off.", "min"
    ),
    "authz_buckets": Shape("gauge", ("store",), "Buckets that are not full, by where they are kept."),
    "authz_guard_networks": Shape("gauge", (), "Client networks whose faults the guards of Sites remember."),
    "authz_guard_forgotten_total": Shape(
        "counter", (), "Client networks whose faults were forgotten early, for want of memory."
    ),
    "authz_store_up": Shape("gauge", ("store",), "Whether a store of buckets answers.", "min"),
    "authz_snapshot_revision_info": Shape(
        "gauge", ("revision", "source_revision"), "The policy set in force.", "max"
    ),
    "authz_snapshot_loaded_timestamp_seconds": Shape(
        "gauge", (), "When the policy set in force was loaded.", "min"
    ),
    "authz_reloads_total": Shape(
        "counter",
        ("result",),
        "Changes of the policy set: `accepted`, `rejected`, `needs_newer` where it was rejected for that, or"
        " `unchanged`, where files were touched and say what they said.",
    ),
    "authz_snapshot_age_seconds": Shape(
        "gauge",
        (),
        "For how long the policy set in force has not been what stands in the directories; 0 while it is."
        " Parts of scopes do not count.",
        "max",
    ),
    "authz_snapshot_stale": Shape(
        "gauge", (), "1 once that is longer than `max_staleness_s`; see `when_stale`.", "max"
    ),
    "authz_snapshot_from_state": Shape(
        "gauge", (), "Parts of the policy set that are in force as an earlier life kept them.", "max"
    ),
    "authz_snapshot_needs_newer": Shape(
        "gauge", (), "1 while what stands in the directories needs a newer authz than this.", "max"
    ),
    "authz_snapshot_part_rejected": Shape(
        "gauge",
        ("part",),
        "1 while a part of the set is not in force as it stands in the directories: `platform`, `scopes`,"
        " `overrides`, or `scope:` and the name of a scope.",
        "max",
    ),
    "authz_state_writes_total": Shape(
        "counter", ("result",), "Policy sets kept for the next start: `written`, or `failed`."
    ),
    "authz_reload_duration_seconds": Shape(
        "gauge", (), "How long the last try to load a changed set took, reading included.", "max"
    ),
    "authz_reload_running_seconds": Shape(
        "gauge", (), "For how long a set has been read or loaded just now; else 0.", "max"
    ),
    "authz_watch_told": Shape(
        "gauge",
        (),
        "Whether the system tells of changed files; 0: they are found every `poll_s` alone.",
        "min",
    ),
    "authz_policy_mounts_frozen": Shape(
        "gauge", (), "Mounts of policy files that can never change, such as those with `subPath`.", "max"
    ),
    "authz_key_next_expiry_timestamp_seconds": Shape(
        "gauge", (), "When the next API key in force expires.", "min"
    ),
    "authz_keys_disabled": Shape(
        "gauge", (), "API keys that can never be accepted, for want of their pepper.", "max"
    ),
    "authz_records_total": Shape(
        "counter",
        ("sink", "result"),
        "Records `written`, `dropped` because the queue was full, or `lost` because the sink was broken.",
    ),
    "authz_records_waiting": Shape("gauge", ("sink",), "Records in the queue."),
    "authz_record_errors_total": Shape("counter", ("sink",), "Failed tries of a sink."),
    "authz_certificate_expiry_timestamp_seconds": Shape(
        "gauge",
        ("certificate",),
        "When our certificate (`server`) or the last of the callers' CAs (`client_ca`) expires.",
        "min",
    ),
    "authz_certificate_reloads_total": Shape(
        "counter",
        ("result",),
        "Changed certificate files, once per listener: `accepted`, or `rejected` and the last good kept.",
    ),
    "authz_strangers_total": Shape(
        "counter", (), "Calls turned away: their certificate is not in `tls_clients`, or expired by now."
    ),
    "authz_build_info": Shape("gauge", ("version", "python"), "The program that runs.", "max"),
    "authz_worker_up": Shape("gauge", ("worker",), "With `workers`: whether a worker answers checks."),
    "authz_worker_restarts_total": Shape(
        "counter",
        ("worker", "cause"),
        "Workers started anew after they `died` or were `stuck`.",
    ),
    "authz_worker_backoff_seconds": Shape(
        "gauge", ("worker",), "How long a worker that keeps dying young waits for its next start."
    ),
    "authz_worker_revision_info": Shape(
        "gauge", ("worker", "revision"), "The policy set in force in each worker."
    ),
    "authz_worker_resident_bytes": Shape("gauge", ("worker",), "Memory that a worker holds."),
}


class SnapshotFacts(NamedTuple):
    """What metrics say of the policy set in force."""

    revision: str
    source_revision: str
    loaded_s: float  # wall clock, seconds since 1970
    next_key_expiry_s: float | None = None  # None: no key expires
    keys_disabled: int = 0


class AgeFacts(NamedTuple):
    """What metrics say of how the set in force stands to what stands in the directories."""

    age_s: float = 0.0
    stale: bool = False
    from_state: int = 0  # parts
    needs_newer: bool = False
    kept: Mapping[str, int] = {}  # result -> count
    parts: Mapping[str, bool] = {}  # part -> whether it is refused as it stands in the directories


class LoadFacts(NamedTuple):
    """What metrics say of loading."""

    took_s: float = 0.0  # the last time
    running_s: float = 0.0  # so far
    told: bool = True
    frozen: int = 0


class GuardFacts(NamedTuple):
    """What metrics say of the guard."""

    networks: int
    forgotten: int


class RecordFacts(NamedTuple):
    """What metrics say of records."""

    sink: str
    counts: RecordCounts


class TlsFacts(NamedTuple):
    """What metrics say of certificates."""

    expiry_s: Mapping[str, float] = {}  # `server`, `client_ca` -> seconds since 1970
    reloads: Mapping[str, int] = {}
    strangers: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Where metrics fetch what they do not count themselves. Each is called once a scrape, by its thread.

    Args:
        snapshot: the policy set in force; None before the first.
        reloads: result -> count.
        buckets: store -> buckets.
        stores: store -> whether it answers.
        guard: None where no Site has one.
    """

    snapshot: Callable[[], SnapshotFacts | None] = lambda: None
    reloads: Callable[[], Mapping[str, int]] = dict
    loading: Callable[[], LoadFacts | None] = lambda: None
    age: Callable[[], AgeFacts | None] = lambda: None
    records: Callable[[], Sequence[RecordFacts]] = tuple
    buckets: Callable[[], Mapping[str, int]] = dict
    stores: Callable[[], Mapping[str, bool]] = dict
    guard: Callable[[], GuardFacts | None] = lambda: None
    tls: Callable[[], TlsFacts] = TlsFacts
    rate_limits: bool = True
    version: str = ""


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
        return {**_counted(total(self._tallies)), **_fetched(self._facts)}

    def render(self) -> bytes:
        """Return the page in Prometheus's text format, `CONTENT_TYPE`."""
        return self._page.render()


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
    sums = accumulate(counts.get(bound, 0.0) for bound in _BOUNDS)
    family = HistogramMetricFamily(name, shape.help)
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
        "authz_check_duration_seconds": _durations(counts),
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
        "authz_shadow_changes_total": list(counts.changes.items()),
        "authz_shadow_crashes_total": [((), counts.shadow_crashes)] if counts.shadow_crashes else [],
    }


def _durations(counts: Tally) -> list[Sample]:
    by_bound = zip(_BOUNDS, counts.durations, strict=True)
    return [*(((bound,), count) for bound, count in by_bound), ((SUM,), counts.duration_sum_us / 1_000_000)]


def _outcome(reason: Reason) -> Outcome:
    return Outcome.ALLOW if reason is Reason.ALLOWED else Outcome.DENY


def _fetched(facts: Facts) -> dict[str, list[Sample]]:
    return {
        "authz_rate_limits_enabled": [((), float(facts.rate_limits))],
        "authz_buckets": [((store,), count) for store, count in facts.buckets().items()],
        "authz_store_up": [((store,), float(up)) for store, up in facts.stores().items()],
        "authz_reloads_total": [((result,), count) for result, count in facts.reloads().items()],
        "authz_build_info": [((facts.version, platform.python_version()), 1.0)],
        **_of_guard(facts.guard()),
        **_of_snapshot(facts.snapshot()),
        **_of_age(facts.age()),
        **_of_loading(facts.loading()),
        **_of_tls(facts.tls()),
        **_of_records(facts.records()),
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
