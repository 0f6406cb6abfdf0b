"""What Prometheus scrapes. Nothing here runs between scrapes: numbers are fetched when somebody asks.

Series appear on first use, but for those that alerts ask. What there is stands in `catalogue.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, core, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as open_latest
from prometheus_client.registry import Collector

from authz.model.latency import Exemplar
from authz.model.reason import Outcome, Reason
from authz.record.catalogue import METRICS, Shape
from authz.record.facts import Facts
from authz.record.fetched import fetched
from authz.record.samples import BOUNDS, durations
from authz.record.samples import SUM as SUM
from authz.record.samples import Sample as Sample
from authz.record.samples import Samples as Samples
from authz.record.tally import Tally, total

# At 0 from the start: a counter that appears with its first event has not increased, as Prometheus sees it.
_ALERTING = (Reason.INTERNAL_ERROR, Reason.NOT_READY, Reason.OVERLOADED, Reason.STORE_UNAVAILABLE)
_DURATION = "authz_check_duration_seconds"
_ENFORCE, _SHADOW, _OVERRIDE = "enforce", "shadow", "override"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Page:
    """What `/metrics` shows of samples, whoever counted them.

    Args:
        fetch: returns the samples as they are now; called once a scrape, by its thread.
        examples: returns the traced checks that stand for buckets of their durations; likewise.
    """

    def __init__(
        self, fetch: Callable[[], Samples], examples: Callable[[], Sequence[Exemplar | None]] = tuple
    ) -> None:
        self._plain = _registry(_Collector(fetch))
        self._open = _registry(_Collector(fetch, examples))

    def render(self, *, openmetrics: bool = False) -> bytes:
        """Return the page as `CONTENT_TYPE`, Prometheus's own form; or as `OPENMETRICS`, with exemplars."""
        if not openmetrics:
            return generate_latest(self._plain)
        page: bytes = open_latest(self._open)  # type: ignore[no-untyped-call] # this part of it has no types
        return page


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


class Metrics:
    """Everything that one process counts, and the page of a process that serves alone.

    Args:
        tallies: of every judging thread; more may be added while serving.
    """

    def __init__(self, tallies: Sequence[Tally], facts: Facts) -> None:
        self._tallies = tallies
        self._facts = facts
        self._page = Page(self.samples, self.examples)

    def samples(self) -> Samples:
        """Return every number as it is now."""
        own = joined(_counted(total(self._tallies)), fetched(self._facts))
        return joined(own, self._facts.shipped())

    def examples(self) -> Sequence[Exemplar | None]:
        """Return the traced checks that stand for the buckets of their durations."""
        return total(self._tallies).exemplars

    def render(self, *, openmetrics: bool = False) -> bytes:
        """Return the page; see Page."""
        return self._page.render(openmetrics=openmetrics)


def joined(ours: Samples, theirs: Samples) -> Samples:
    """Return all samples; series of one metric may come from both."""
    return {metric: [*ours.get(metric, ()), *theirs.get(metric, ())] for metric in {**ours, **theirs}}


class _Collector(Collector):
    """Turns samples into families, in the order of METRICS."""

    def __init__(
        self, fetch: Callable[[], Samples], examples: Callable[[], Sequence[Exemplar | None]] = tuple
    ) -> None:
        self._fetch = fetch
        self._examples = examples

    def collect(self) -> Iterator[Metric]:
        """Return every family, as it is now."""
        samples = self._fetch()
        for name, shape in METRICS.items():
            if shape.kind == "histogram":
                examples = self._examples() if name == _DURATION else ()
                yield _histogram(name, shape, samples.get(name, ()), examples)
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


def _histogram(
    name: str, shape: Shape, samples: Iterable[Sample], examples: Sequence[Exemplar | None]
) -> Metric:
    counts = {bound: count for (bound,), count in samples}
    family = HistogramMetricFamily(name, shape.help)
    if not counts:
        return family
    sums = accumulate(counts.get(bound, 0.0) for bound in BOUNDS)
    shown = examples or [None] * len(BOUNDS)
    buckets = zip(BOUNDS, map(float, sums), shown, strict=True)
    family.add_metric((), [_bucket(*each) for each in buckets], sum_value=counts.get(SUM, 0.0))
    return family


def _bucket(
    bound: str, count: float, example: Exemplar | None
) -> tuple[str, float] | tuple[str, float, core.Exemplar]:
    if example is None:
        return bound, count
    seconds, time_s = example.duration_us / 1e6, example.time_us / 1e6
    return bound, count, core.Exemplar({"trace_id": example.trace_id}, seconds, time_s)


def _counted(counts: Tally) -> dict[str, list[Sample]]:
    rules = [(name, Outcome.ALLOW, count) for name, count in counts.rules_allowed.items()]
    rules += [(name, Outcome.DENY, count) for name, count in counts.rules_denied.items()]
    return {
        "authz_checks_total": [
            ((_outcome(reason), reason), counts.reasons.get(reason, 0))
            for reason in {**dict.fromkeys(_ALERTING), **counts.reasons}
        ],
        _DURATION: durations(counts.durations, counts.duration_sum_us),
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
        "authz_traces_total": [((result,), count) for result, count in counts.traces.items()],
        "authz_shadow_changes_total": list(counts.changes.items()),
        "authz_shadow_crashes_total": [((), counts.shadow_crashes)],
        "authz_records_total": [(("none", "sampled_out"), counts.sampled_out)] if counts.sampled_out else [],
    }


def _outcome(reason: Reason) -> Outcome:
    return Outcome.ALLOW if reason is Reason.ALLOWED else Outcome.DENY
