"""Which checks are traced: those whose callers sample them, and no more a second than the operator allows.

Whoever may send a request may set its sampled flag, where our Envoy does not trace itself. So spans are
bounded here; what is above the bound is answered and recorded like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from authz.model.request import Request, Unreadable
from authz.model.trace import Steps

_SPAN_BITS = 64
_SECOND_US = 1_000_000


class Tracing:
    """Begins the spans of one judging thread.

    Args:
        ticks_us: a clock that never goes back.
        most_per_s: spans that may begin in a second; a second's worth may begin at once.
        counts: what became of sampled checks: `traced`, or `over_limit`.
        seed: of span ids; None: nobody's guess. They are names, not secrets.
    """

    def __init__(
        self, ticks_us: Callable[[], int], most_per_s: int, counts: dict[str, int], seed: int | None = None
    ) -> None:
        self.ticks_us = ticks_us
        self._most_per_s = most_per_s
        self._bits = Random(seed).getrandbits  # noqa: S311 - names, not secrets
        self._room_us = _SECOND_US * most_per_s  # a span takes a second of it, and each second brings as many
        self._at_us = ticks_us()
        self._counts = counts

    def turn(self, began_us: int) -> Tracer:
        """Return what traces the calls that were taken at that time."""
        return Tracer(self, began_us)

    def begin(self, request: Request | Unreadable, began_us: int) -> Steps | None:
        """Return the span of a check that was just read, or None where there were too many."""
        if not self._has_room():
            self._counts["over_limit"] += 1
            return None
        self._counts["traced"] += 1
        span_id = f"{self._bits(_SPAN_BITS) or 1:016x}"  # zero is no id
        return Steps(request.trace_id, span_id, request.parent_span_id, began_us, self.ticks_us)

    def _has_room(self) -> bool:
        now_us, most = self.ticks_us(), self._most_per_s
        room_us = min(self._room_us + (now_us - self._at_us) * most, _SECOND_US * most)
        self._at_us = now_us
        self._room_us = room_us - _SECOND_US if room_us >= _SECOND_US else room_us
        return room_us >= _SECOND_US


class Tracer:
    """Traces the checks of one batch.

    Args:
        began_us: when its calls were taken.
    """

    __slots__ = ("_began_us", "_begun", "_tracing")

    def __init__(self, tracing: Tracing, began_us: int) -> None:
        self._tracing = tracing
        self._began_us = began_us
        self._begun: dict[int, Steps] = {}

    def begin(self, call_id: int, request: Request | Unreadable) -> Steps | None:
        """Begin the span of a sampled check that was just read; one that is tried again keeps its span."""
        before = self._begun.get(call_id)
        steps = before.again() if before is not None else self._tracing.begin(request, self._began_us)
        if steps is not None:
            self._begun[call_id] = steps
            steps.step("read")
        return steps

    def of(self, call_id: int) -> Steps | None:
        """Return the span of a check of which nothing else is left, or None where it has none."""
        return self._begun.get(call_id)
