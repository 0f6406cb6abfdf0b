"""Traces: whose span a check belongs to, and the steps of one that is traced.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class TraceParent(NamedTuple):
    """What a valid `traceparent` says."""

    trace_id: str  # 32 hex digits, or "" where there is none
    span_id: str  # of whoever asks: 16 hex digits, or ""
    sampled: bool


UNTRACED = TraceParent("", "", sampled=False)


class Step(NamedTuple):
    """One step of a check."""

    name: str
    at_us: int  # since its call was taken


class Steps:
    """One traced check: its span, and when it was how far. It is handed on with the check.

    Args:
        span_id: its own, 16 hex digits.
        began_us: when its call was taken, by the same clock.
        ticks_us: a clock that never goes back.
    """

    __slots__ = ("_began_us", "_prefix", "_ticks_us", "parent_span_id", "span_id", "taken", "trace_id")

    def __init__(
        self,
        trace_id: str,
        span_id: str,
        parent_span_id: str,
        began_us: int,
        ticks_us: Callable[[], int],
    ) -> None:
        self.trace_id, self.span_id, self.parent_span_id = trace_id, span_id, parent_span_id
        self._began_us = began_us
        self._ticks_us = ticks_us
        self._prefix = ""
        self.taken = [Step("received", 0)]

    def step(self, name: str) -> None:
        """Note that a step was taken now."""
        self.taken.append(Step(self._prefix + name, self._ticks_us() - self._began_us))

    def end(self, decided_us: int, replied_us: int) -> None:
        """Note the last steps, by somebody else's looks at the same clock.

        Args:
            decided_us: when its batch was decided: the moment that a record has as its time.
        """
        self.taken.append(Step("decided", decided_us - self._began_us))
        self.taken.append(Step("replied", replied_us - self._began_us))

    def reading(self, prefix: str) -> None:
        """Name the steps that follow after another reading of the request; "": after none."""
        self._prefix = prefix

    def again(self) -> Steps:
        """Return the same span with no step taken: its check is tried once more."""
        return Steps(self.trace_id, self.span_id, self.parent_span_id, self._began_us, self._ticks_us)

    def so_far(self) -> Steps:
        """Return it as it is now, for a check that takes the place of one whose hands are not ours."""
        fresh = self.again()
        fresh.taken = self.taken.copy()
        return fresh
