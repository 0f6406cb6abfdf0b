"""Between a front and the rooms: what must hold whatever happens inside.

Every call that arrives in time gets exactly one reply, and that reply is a whole CheckResponse. A crash, a
missing answer, too little time: an explicit refusal. This is the only place that catches everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from authz.check import Call, Check, Finish, answer, reply
from authz.config.log import correlated
from authz.limits.guard import Guard
from authz.limits.store import Limiter
from authz.model.decision import Answered, Deny
from authz.model.reason import Code, Detail, Reason
from authz.record.entry import FixedFields
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import DEADLINE_EXCEEDED, Arrival, Front

# Judging a full batch takes about 2 ms: with less than this left, an allow might come too late to count.
MARGIN_S = 0.005

_LATE = Deny(Reason.OVERLOADED, Detail.DEADLINE)
_CRASHED = Deny(Reason.INTERNAL_ERROR)

# For when even building a refusal fails: made beforehand, the same for everyone.
_LAST_RESORT = message.deny(503, Code.UNAVAILABLE, (("x-authz-reason", "unavailable"),), "unavailable")

_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Keeper(Protocol):
    """Keeps records and counts, after the replies have left."""

    def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
        """Take what was answered under one snapshot. Never blocks."""
        ...


class Clock(Protocol):
    """The two times that a check needs."""

    def wall_us(self) -> int:
        """Microseconds since 1970."""
        ...

    def ticks_us(self) -> int:
        """Microseconds of a clock that never goes back."""
        ...


class Shield:
    """Serves batches of one front, on its judging thread.

    Args:
        current: returns the snapshot in force; asked once per batch, so a decision has one revision.
        crashed: told of each exception that became a refusal.
    """

    def __init__(
        self,
        front: Front,
        current: Callable[[], Snapshot],
        limiter: Limiter,
        guard: Guard,
        refuser: Refuser,
        keeper: Keeper,
        clock: Clock,
        mint: Callable[[int], str],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._front = front
        self._current = current
        self._limiter = limiter
        self._guard = guard
        self._refuser = refuser
        self._keeper = keeper
        self._clock = clock
        self._mint = mint
        self._crashed = crashed

    def serve(self, arrivals: Sequence[Arrival]) -> None:
        """Answer every call of a batch. Raises nothing, whatever is raised inside.

        What is no Exception (a library's panic, an exit asked for on this thread) is caught as well: nobody
        may end this thread but `CheckServer`, and while it is gone nobody is answered.
        """
        done: set[int] = set()
        try:
            self._serve(arrivals, done)
        except BaseException as error:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            for arrival in arrivals:
                if arrival.id not in done:
                    with suppress(BaseException):
                        self._front.respond(arrival.id, _LAST_RESORT)
            self._tell(error)

    def _serve(self, arrivals: Sequence[Arrival], done: set[int]) -> None:
        snapshot = self._current()
        finish = partial(self._finish, snapshot, self._clock.ticks_us(), done)
        batch: list[Call] = []
        for call_id, payload, remaining_s in arrivals:
            if remaining_s is None or remaining_s >= MARGIN_S:
                batch.append(_new(Call, (call_id, payload)))
            elif remaining_s > 0:
                finish([_refused(Call(call_id, payload), _LATE)])
            else:
                self._front.fail(call_id, DEADLINE_EXCEEDED, "the deadline has passed")
                done.add(call_id)
        if batch:
            self._answer(batch, snapshot, finish, done)

    def _answer(self, batch: Sequence[Call], snapshot: Snapshot, finish: Finish, done: set[int]) -> None:
        """One call that crashes must not take its neighbours along: each is tried once more, alone.

        Every limiter of today answers before `spend` returns, so what is left over then was forgotten.
        """
        error: BaseException | None = None
        try:
            answer(batch, snapshot, self._limiter, self._guard, finish, self._clock.wall_us())
        except BaseException as caught:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            error = caught
        left = [call for call in batch if call.id not in done]
        if not left and error is None:
            return
        if left and len(batch) > 1:
            for call in left:
                self._answer([call], snapshot, finish, done)
            return
        error = error or RuntimeError("nobody answered")
        if not left:
            self._tell(error)
        finish([_refused(call, _CRASHED, error) for call in left])

    def _finish(self, snapshot: Snapshot, began_us: int, done: set[int], checks: Sequence[Check]) -> None:
        """Reply first, then keep the record. INVARIANT: what was replied is kept, whatever follows."""
        time_us = self._clock.wall_us()
        answered: list[Answered] = []
        try:
            for check in checks:
                decision_id = self._mint(time_us)
                try:
                    status, payload = reply(check, snapshot, self._refuser, decision_id)
                    self._front.respond(check.call.id, payload)
                except BaseException as error:  # noqa: BLE001 - SECURITY: as above
                    status = self._refuse(check, snapshot, decision_id, error)
                done.add(check.call.id)
                if check.crash is not None:
                    self._tell(check.crash, decision_id)
                spent_us = self._clock.ticks_us() - began_us
                fields = (decision_id, time_us, check.request, check.caller, check.decision, status, spent_us, 1)
                answered.append(_new(Answered, fields))
        finally:
            self._keep(answered, snapshot)

    def _refuse(self, check: Check, snapshot: Snapshot, decision_id: str, error: BaseException) -> int:
        """Refuse a check whose reply could not be built; the front lets only the first reply through."""
        check.decision = _CRASHED
        status, payload = 503, _LAST_RESORT
        with suppress(BaseException):
            status, payload = reply(check, snapshot, self._refuser, decision_id)
        with suppress(BaseException):
            self._front.respond(check.call.id, payload)
        self._tell(error, decision_id)
        return status

    def _keep(self, answered: Sequence[Answered], snapshot: Snapshot) -> None:
        try:
            self._keeper.keep(answered, snapshot.fixed)
        except BaseException as error:  # noqa: BLE001 - a record that is lost must not cost an answer
            self._tell(error)

    def _tell(self, error: BaseException, decision_id: str = "") -> None:
        """Tell of a crash; what is logged of it carries the id that the client and the record have."""
        with suppress(BaseException), correlated(**({"decision_id": decision_id} if decision_id else {})):
            self._crashed(error)


def _refused(call: Call, deny: Deny, crash: BaseException | None = None) -> Check:
    check = Check(call)
    check.decision = deny
    check.crash = crash
    return check
