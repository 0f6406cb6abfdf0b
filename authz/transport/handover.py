"""A limiter that answers later, as one turn sees it: what it takes is held in escrow meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from authz.check import Check, Finish
from authz.limits.store import Limiter, S
from authz.transport.backlog import MARGIN_US
from authz.transport.escrow import Escrow, Held
from authz.transport.refused import CRASHED, refused
from authz.transport.turn import Turn

# How long a caller who names no deadline waits for a limiter that answers later. Envoy always names one.
_UNTIMED_US = 10_000_000


class Handover:
    """Stands before the limiter for one turn."""

    def __init__(self, limiter: Limiter, escrow: Escrow, turn: Turn) -> None:
        self._limiter = limiter
        self._escrow = escrow
        self._turn = turn

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Hand over; each check comes back once, by the limiter or by the sweep."""
        checks, finish = cast("Sequence[Check]", waiting), cast("Finish", then)
        self._escrow.hold([Held(check, finish, self._due_us(check)) for check in checks])
        self._turn.done.update(check.call.id for check in checks)
        try:
            self._limiter.spend(checks, partial(self._back, finish))
        except BaseException as error:  # noqa: BLE001 - SECURITY: a refusal; not tried again, for it may have spent
            finish([refused(check.call, CRASHED, error) for check in self._escrow.release(checks)])

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Pass on: nobody waits for these, so nothing is held."""
        self._limiter.spend_in_shadow(trials, then)

    def _back(self, finish: Finish, checks: Sequence[Check]) -> None:
        if mine := self._escrow.release(checks):
            finish(mine)

    def _due_us(self, check: Check) -> float:
        deadline_us = self._turn.deadline_us(check.call.id)
        return min(deadline_us - MARGIN_US, self._turn.now_us + _UNTIMED_US)
