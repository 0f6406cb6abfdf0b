"""Checks that were traced, as the judging thread hands them on."""

from __future__ import annotations

from authz.model.decision import Answered
from authz.model.trace import Steps
from tests.support.answers import TIME_US, allowed

SPAN, PARENT = "1" * 16, "2" * 16


def traced(duration_us: int = 25, trace_id: str = "3" * 32, time_us: int = TIME_US) -> Answered:
    """Return an allowed check that was traced."""
    trace = Steps(trace_id, SPAN, PARENT, 0, lambda: 0)
    return allowed()._replace(trace=trace, duration_us=duration_us, time_us=time_us)
