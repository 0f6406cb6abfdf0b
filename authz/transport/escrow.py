"""Checks whose tokens are being spent elsewhere, by a limiter that answers later, from a thread of its own.

INVARIANT: each check that is held is given out once: to the limiter, when it comes back in time, or to
the sweep, shortly before its caller stops waiting. Whoever comes second (a limiter that calls back twice, or
late) gets nothing, so no call has two replies and no refused one is allowed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from authz.check import Check, Finish


class Held(NamedTuple):
    """A check in somebody else's hands."""

    check: Check
    then: Finish
    due_us: float  # when it is answered without its tokens; ticks


class Escrow:
    """What one shield handed over. Any thread may give back; `dict.pop` is one step of the interpreter."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._soonest_us = inf  # no later than the first due; found anew by each sweep

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, held: Mapping[int, Held]) -> None:
        """Keep what a limiter is about to be given, by the id of its call."""
        self._held.update(held)
        self._soonest_us = min([self._soonest_us, *[one.due_us for one in held.values()]])

    def release(self, checks: Sequence[Check]) -> list[Check]:
        """Return those of the checks that are still held, each once: as they were handed over."""
        found = [self._held.pop(check.call.id, None) for check in checks]
        return [held.check for held in found if held is not None]

    def overdue(self, now_us: float) -> list[Held]:
        """Return what is due by now and still held, each once."""
        if now_us < self._soonest_us:
            return []
        self._soonest_us = inf  # before looking: what is handed over meanwhile lowers it again
        late = []
        for held in list(self._held.values()):
            if held.due_us > now_us:
                self._soonest_us = min(self._soonest_us, held.due_us)
            elif self._held.pop(held.check.call.id, None) is not None:
                late.append(held)
        return late

    def wait_us(self, now_us: float) -> float:
        """Return how long nothing falls due."""
        return max(0.0, self._soonest_us - now_us) if self._held else inf
