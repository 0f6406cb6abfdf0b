"""Between a front and the rooms: what must hold whatever happens inside.

Every call that arrives in time gets exactly one reply, and that reply is a whole CheckResponse. A crash, a
missing answer, too little time: an explicit refusal. This is the only place that catches everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from threading import RLock
from typing import Protocol

from authz.check import Call, Check, answer, reply
from authz.config.log import correlated
from authz.limits.guard import Guard
from authz.limits.store import Limiter, answers_later
from authz.model.decision import Answered, Deny
from authz.model.reason import Code
from authz.record.entry import FixedFields
from authz.record.tracing import Tracing
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.aside import Aside
from authz.transport.backlog import MARGIN_US
from authz.transport.escrow import Escrow
from authz.transport.front import DEADLINE_EXCEEDED, Arrival, Front
from authz.transport.handover import Handover
from authz.transport.refused import BACKLOG, CRASHED, LATE, UNRECORDED, refused, refused_like, take_back
from authz.transport.turn import Turn

MARGIN_S = MARGIN_US / 1e6


# For when even building a refusal fails: made beforehand, the same for everyone.
LAST_RESORT = message.deny(503, Code.UNAVAILABLE, (("x-authz-reason", "unavailable"),), "unavailable")

_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Keeper(Protocol):
    """Keeps records and counts, after the replies have left."""

    @property
    def full(self) -> bool:
        """Whether no check shall be judged: its record could not be kept."""
        ...

    def promise(self, count: int) -> None:
        """Say that so many checks are about to be answered."""
        ...

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
        tracing: which checks are traced; None: none.
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
        tracing: Tracing | None = None,
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
        self._tracing = tracing
        self._escrow = Escrow()
        self._aside = Aside(limiter, self._keep_alone, self._tell)
        self.later = answers_later(limiter)  # then `sweep` must be called between turns
        self._lock = RLock()  # once per batch: a limiter that answers later does so from its own thread

    def serve(self, arrivals: Sequence[Arrival], waited_us: int = 0) -> None:
        """Answer every call of a batch. Raises nothing, whatever is raised inside.

        What is no Exception (a library's panic, an exit asked for on this thread) is caught as well: nobody
        may end this thread but `CheckServer`, and while it is gone nobody is answered.

        Args:
            arrivals: calls, each with the time that it has left now.
            waited_us: how long the first of them has been waiting here.
        """
        turn = Turn(arrivals)
        try:
            self._serve(turn, waited_us)
        except BaseException as error:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            self._last_resort(turn.open_ids(), error)

    def shed(self, arrivals: Sequence[Arrival]) -> None:
        """Refuse calls unread: more wait than can be judged in time. Raises nothing."""
        turn = Turn(arrivals)
        try:
            turn.snapshot = self._current()
            turn.began_us = self._clock.ticks_us()
            self._refuse_unread(turn, arrivals, BACKLOG)
        except BaseException as error:  # noqa: BLE001 - SECURITY: as above
            self._last_resort(turn.open_ids(), error)

    def sweep(self, *, all_held: bool = False) -> None:
        """Refuse what a limiter has held for so long that its caller will soon stop waiting. Raises nothing.

        Args:
            all_held: whatever it holds, since nobody will wait for it any more.
        """
        now_us = inf if all_held else self._clock.ticks_us()
        for held in self._escrow.overdue(now_us):
            held.then([refused_like(held.check, LATE)])

    @property
    def held(self) -> int:
        """How many calls wait for a limiter that answers later."""
        return len(self._escrow)

    def wait_us(self) -> float:
        """Return how long `sweep` has nothing to do; infinite where nothing is held."""
        return self._escrow.wait_us(self._clock.ticks_us())

    def _serve(self, turn: Turn, waited_us: int) -> None:
        turn.snapshot = self._current()
        turn.now_us = now_us = self._clock.ticks_us()
        turn.began_us = now_us - waited_us
        if self._tracing is not None:
            turn.tracer = self._tracing.turn(turn.began_us)
        soonest_s = inf
        batch: list[Call] = []
        late: list[Arrival] = []
        for arrival in turn.arrivals:
            call_id, payload, remaining_s, traceparent = arrival
            if remaining_s is not None and remaining_s < soonest_s:
                if remaining_s < MARGIN_S:
                    late.append(arrival)
                    continue
                soonest_s = remaining_s
            batch.append(_new(Call, (call_id, payload, traceparent)))
        turn.soonest_us = now_us + soonest_s * 1e6
        if self._keeper.full:
            self._refuse_unread(turn, turn.arrivals, UNRECORDED)
            return
        if late:
            self._refuse_unread(turn, late, LATE)
        if batch:
            self._answer(batch, turn)

    def _answer(self, batch: Sequence[Call], turn: Turn) -> None:
        """One call that crashes must not take its neighbours along: each is tried once more, alone."""
        error: BaseException | None = None
        limiter = Handover(self._limiter, self._escrow, turn) if self.later else self._limiter
        finish = partial(self._finish_alone if self.later else self._finish, turn)
        try:
            now_us = self._clock.wall_us()
            answer(batch, turn.snapshot, limiter, self._guard, finish, now_us, turn.tracer)
        except BaseException as caught:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            error = caught
        left = [call for call in batch if call.id not in turn.done]
        if not left and error is None:
            return
        if left and len(batch) > 1:
            for call in left:
                self._answer([call], turn)
            return
        error = error or RuntimeError("nobody answered")
        if not left:
            self._tell(error)
        finish([refused(call, CRASHED, error, turn.span_of(call.id)) for call in left])

    def _finish_alone(self, turn: Turn, checks: Sequence[Check]) -> None:
        """Finish on the thread of a limiter, where nobody else catches what is raised."""
        try:
            self._finish(turn, checks)
        except BaseException as error:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            self._last_resort([check.call.id for check in checks], error)

    def _finish(self, turn: Turn, checks: Sequence[Check]) -> None:
        """Reply first, then keep the record. INVARIANT: what was replied is kept, whatever follows."""
        with self._lock:
            snapshot, soonest_us = turn.snapshot, turn.soonest_us
            time_us, now_us = self._clock.wall_us(), self._clock.ticks_us()
            decided_us = now_us
            answered: list[Answered] = []
            self._keeper.promise(len(checks))
            try:
                for check in checks:
                    decision_id = self._mint(time_us)
                    try:
                        if now_us > soonest_us and now_us > turn.deadline_us(check.call.id):
                            take_back(check)
                        status, payload = reply(check, snapshot, self._refuser, decision_id)
                        self._front.respond(check.call.id, payload)
                    except BaseException as error:  # noqa: BLE001 - SECURITY: as above
                        status = self._refuse(check, snapshot, decision_id, error)
                    turn.done.add(check.call.id)
                    if check.crash is not None:
                        self._tell(check.crash, decision_id)
                    now_us = self._clock.ticks_us()
                    spent_us = now_us - turn.began_us
                    trace = check.trace
                    if trace is not None:
                        trace.end(decided_us, now_us)
                    fields = (
                        decision_id,
                        time_us,
                        check.request,
                        check.caller,
                        check.decision,
                        status,
                        spent_us,
                        1,
                        (),
                        trace,
                    )
                    answered.append(_new(Answered, fields))
            finally:
                if snapshot.shadow is None:
                    self._keep(answered, snapshot)
                else:
                    self._aside.ask(checks, answered, snapshot)

    def _refuse_unread(self, turn: Turn, arrivals: Sequence[Arrival], deny: Deny) -> None:
        """Refuse many calls by one decision, with one answer and one record: judging is what is saved."""
        with self._lock:
            snapshot, time_us = turn.snapshot, self._clock.wall_us()
            decision_id = self._mint(time_us)
            check = refused(Call(0, b""), deny)
            status, payload = 503, LAST_RESORT
            self._keeper.promise(1)
            try:
                status, payload = reply(check, snapshot, self._refuser, decision_id)
            except BaseException as error:  # noqa: BLE001 - SECURITY: the prepared refusal does
                self._tell(error, decision_id)
            for call_id, _, remaining_s, _ in arrivals:
                if remaining_s is None or remaining_s > 0:
                    self._front.respond(call_id, payload)
                else:
                    self._front.fail(call_id, DEADLINE_EXCEEDED, "the deadline has passed")
                turn.done.add(call_id)
            spent_us = self._clock.ticks_us() - turn.began_us
            answered = Answered(
                decision_id, time_us, check.request, check.caller, deny, status, spent_us, len(arrivals)
            )
            self._keep([answered], snapshot)

    def _refuse(self, check: Check, snapshot: Snapshot, decision_id: str, error: BaseException) -> int:
        """Refuse a check whose reply could not be built; the front lets only the first reply through."""
        check.decision = CRASHED
        status, payload = 503, LAST_RESORT
        with suppress(BaseException):
            status, payload = reply(check, snapshot, self._refuser, decision_id)
        with suppress(BaseException):
            self._front.respond(check.call.id, payload)
        self._tell(error, decision_id)
        return status

    def _last_resort(self, call_ids: Sequence[int], error: BaseException) -> None:
        """Refuse with what needs nothing else to work; the front lets only the first reply through."""
        for call_id in call_ids:
            with suppress(BaseException):
                self._front.respond(call_id, LAST_RESORT)
        self._tell(error)

    def _keep(self, answered: Sequence[Answered], snapshot: Snapshot) -> None:
        try:
            self._keeper.keep(answered, snapshot.fixed)
        except BaseException as error:  # noqa: BLE001 - a record that is lost must not cost an answer
            self._tell(error)

    def _keep_alone(self, answered: Sequence[Answered], snapshot: Snapshot) -> None:
        """Keep from whatever thread."""
        with self._lock:
            self._keep(answered, snapshot)

    def _tell(self, error: BaseException, decision_id: str = "") -> None:
        """Tell of a crash; what is logged of it carries the id that the client and the record have."""
        with suppress(BaseException), correlated(**({"decision_id": decision_id} if decision_id else {})):
            self._crashed(error)
