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


_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Handover:
    """Stands before the limiter for one turn."""

    def __init__(self, limiter: Limiter, escrow: Escrow, turn: Turn) -> None:
        self._limiter = limiter
        self._escrow = escrow
        self._turn = turn

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Hand over; each check comes back once, by the limiter or by the sweep."""
        checks, finish = cast("Sequence[Check]", waiting), cast("Finish", then)
        untimed_us, deadlines_us = self._turn.now_us + _UNTIMED_US, self._turn.deadlines_us()
        held = {}
        for check in checks:
            call_id = check.call.id
            due_us = deadlines_us[call_id] - MARGIN_US
            held[call_id] = _new(Held, (check, finish, due_us if due_us < untimed_us else untimed_us))
        self._escrow.hold(held)
        self._turn.done.update(held)
        try:
            self._limiter.spend(checks, partial(self._back, finish))
        except BaseException as error:  # noqa: BLE001 - SECURITY: a refusal; not tried again, for it may have spent
            mine = self._escrow.release(checks)
            finish([refused(check.call, CRASHED, error, check.trace) for check in mine])

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Pass on: nobody waits for these, so nothing is held."""
        self._limiter.spend_in_shadow(trials, then)

    def _back(self, finish: Finish, checks: Sequence[Check]) -> None:
        if mine := self._escrow.release(checks):
            finish(mine)
