"""How a worker comes back: at once, unless it keeps dying young.

One that had served for a while and is killed costs the calls in flight on it and nothing more. One that dies
at every start would burn the processor for nothing: it waits twice as long each time, up to half a minute.
"""

from __future__ import annotations

STEADY_S = 10.0  # who has served for so long did not die of its start
FIRST_S = 0.5
LONGEST_S = 30.0


class Lives:
    """Counts how often in a row a worker died young."""

    def __init__(self) -> None:
        self._young = 0
        self.backoff_s = 0.0  # before the next start

    def died(self, served_s: float) -> float:
        """Return how long to wait before the next start, after it served for so long."""
        self._young = 0 if served_s >= STEADY_S else self._young + 1
        self.backoff_s = min(LONGEST_S, FIRST_S * 2 ** (self._young - 2)) if self._young > 1 else 0.0
        return self.backoff_s

    def steady(self) -> None:
        """Note that it has served for a while."""
        self._young, self.backoff_s = 0, 0.0
