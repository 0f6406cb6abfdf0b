"""One batch on its way through the shield: what holds for all of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from authz.model.trace import Steps
from authz.record.tracing import Tracer
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import Arrival


class Turn:
    """One batch of calls, taken together and judged under one snapshot."""

    __slots__ = ("_deadlines", "arrivals", "began_us", "done", "now_us", "snapshot", "soonest_us", "tracer")

    snapshot: Snapshot
    began_us: int  # when the first of them was taken
    now_us: int  # when their remaining times were right

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.done: set[int] = set()  # answered, or in the hands of a limiter that answers later
        self.soonest_us = inf  # nobody's deadline is sooner
        self.tracer: Tracer | None = None
        self._deadlines: dict[int, float] | None = None

    def deadline_us(self, call_id: int) -> float:
        """Return when the caller stops waiting, in ticks."""
        return self.deadlines_us()[call_id]

    def deadlines_us(self) -> Mapping[int, float]:
        """Return the same for every call."""
        if self._deadlines is None:  # few turns are asked
            now_us = self.now_us
            self._deadlines = {
                call_id: now_us + (inf if remaining_s is None else remaining_s * 1e6)
                for call_id, _, remaining_s, _ in self.arrivals
            }
        return self._deadlines

    def span_of(self, call_id: int) -> Steps | None:
        """Return the span of a call, or None where it has none."""
        return self.tracer.of(call_id) if self.tracer is not None else None

    def open_ids(self) -> list[int]:
        """Return the calls that have no answer yet and are in nobody else's hands."""
        return [arrival.id for arrival in self.arrivals if arrival.id not in self.done]
