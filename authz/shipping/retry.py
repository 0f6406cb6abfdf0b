"""When a sink is asked again after it took nothing. Pure: chance is brought along."""

from __future__ import annotations

from collections.abc import Callable

RETRY_MIN_S, RETRY_MAX_S = 0.1, 30.0
RETRY_ASKED_MAX_S = 60.0  # more than that a sink cannot ask for
RETRY_DRAINING_S = 0.5  # nobody waits half a minute for the end
_DOUBLINGS_MAX = 16

Chance = Callable[[float, float], float]  # a number between two


class Retry:
    """Counts failures in a row, and says how long to wait.

    Many shippers lose one collector at the same time; were they to come back at the same time, too, they
    would be its next outage. So the wait is any time up to what it may be.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.failures = 0

    def failed(self, asked_s: float = 0.0) -> float:
        """Return how long to wait now.

        Args:
            asked_s: what the sink itself said of when, or 0.
        """
        self.failures += 1
        if asked_s > 0.0:
            return min(asked_s, RETRY_ASKED_MAX_S)
        most_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self.failures, _DOUBLINGS_MAX))
        return self._chance(0.0, most_s)

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
