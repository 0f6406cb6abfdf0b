"""The metrics of the catalogue, as Prometheus scrapes them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from authz.admission.catalogue import METRICS

# From a tenth of a millisecond to what an API server waits.
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)


class Numbers:
    """What is counted here. Safe for threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._rows: dict[str, set[str]] = {}
        for name, shape in METRICS.items():
            if shape.kind == "counter":
                bare = name.removesuffix("_total")
                self._counters[name] = Counter(bare, shape.help, shape.labels, registry=self._registry)
            elif shape.kind == "gauge":
                self._gauges[name] = Gauge(name, shape.help, shape.labels, registry=self._registry)
            else:
                self._histograms[name] = Histogram(
                    name, shape.help, shape.labels, buckets=_BOUNDS, registry=self._registry
                )

    def count(self, name: str, *labels: str) -> None:
        """Count one."""
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc()

    def begin(self, name: str, *labels: str) -> None:
        """Show a counter at 0: one that appears with its first event has not increased, for Prometheus."""
        self._counters[name].labels(*labels)

    def show(self, name: str, value: float) -> None:
        """Set a gauge without labels."""
        self._gauges[name].set(value)

    def show_rows(self, name: str, rows: Iterable[tuple[str, float]]) -> None:
        """Set every series of a gauge with one label; series that are not named are gone."""
        gauge = self._gauges[name]
        kept = dict(rows)
        for gone in self._rows.get(name, set()) - set(kept):
            gauge.remove(gone)
        for label, value in kept.items():
            gauge.labels(label).set(value)
        self._rows[name] = set(kept)

    def observe(self, name: str, value: float) -> None:
        """Add to a histogram."""
        self._histograms[name].observe(value)

    def page(self) -> bytes:
        """Return what Prometheus scrapes, in its own form."""
        return generate_latest(self._registry)
