"""How a worker comes back: at once, unless it keeps dying young.

One that had served for a while and is killed costs the calls in flight on it and nothing more. One that dies
at every start would burn the processor for nothing: it waits twice as long each time, up to half a minute.
"""

from __future__ import annotations

import signal

STEADY_S = 10.0  # who has served for so long did not die of its start
FIRST_S = 0.5
LONGEST_S = 30.0


class Lives:
    """Remembers whether a worker keeps dying young."""

    def __init__(self) -> None:
        self._young = False  # whether the last one died so
        self.backoff_s = 0.0  # before the next start

    def died(self, served_s: float) -> float:
        """Return how long to wait before the next start, after it served for so long."""
        if served_s >= STEADY_S:
            self.steady()
        elif self._young:
            self.backoff_s = min(LONGEST_S, 2 * self.backoff_s or FIRST_S)
        self._young = served_s < STEADY_S
        return self.backoff_s

    def steady(self) -> None:
        """Note that it has served for a while."""
        self._young, self.backoff_s = False, 0.0


def how_ended(code: int) -> str:
    """Return how a process ended, by what its parent was told of it."""
    try:
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
