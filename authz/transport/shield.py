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
from typing import Protocol, cast

from authz.check import Call, Check, Finish, answer, reply
from authz.config.log import correlated
from authz.limits.guard import Guard
from authz.limits.store import Limiter, S
from authz.model.decision import Allow, Answered, Deny
from authz.model.reason import Code, Detail, Reason
from authz.record.entry import FixedFields
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.aside import Aside
from authz.transport.backlog import MARGIN_US
from authz.transport.escrow import Escrow, Held
from authz.transport.front import DEADLINE_EXCEEDED, Arrival, Front

MARGIN_S = MARGIN_US / 1e6

# How long a caller who names no deadline waits for a limiter that answers later. Envoy always names one.
_UNTIMED_US = 10_000_000

_LATE = Deny(Reason.OVERLOADED, Detail.DEADLINE)
_BACKLOG = Deny(Reason.OVERLOADED, Detail.BACKLOG)
_CRASHED = Deny(Reason.INTERNAL_ERROR)

# For when even building a refusal fails: made beforehand, the same for everyone.
LAST_RESORT = message.deny(503, Code.UNAVAILABLE, (("x-authz-reason", "unavailable"),), "unavailable")

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


class _Turn:
    """One batch on its way: what holds for all of its calls."""

    __slots__ = ("_deadlines", "arrivals", "began_us", "done", "now_us", "snapshot", "soonest_us")

    snapshot: Snapshot
    began_us: int  # when the first of them was taken
    now_us: int  # when their remaining times were right

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.done: set[int] = set()  # answered, or in the hands of a limiter that answers later
        self.soonest_us = inf  # nobody's deadline is sooner
        self._deadlines: dict[int, float] | None = None

    def deadline_us(self, call_id: int) -> float:
        """Return when the caller stops waiting, in ticks."""
        if self._deadlines is None:  # few turns are asked
            self._deadlines = {
                arrival.id: self.now_us + (inf if arrival.remaining_s is None else arrival.remaining_s * 1e6)
                for arrival in self.arrivals
            }
        return self._deadlines[call_id]


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
        self._escrow = Escrow()
        self._aside = Aside(limiter, self._keep_alone, self._tell)
        self.later = bool(getattr(limiter, "later", False))  # then `sweep` must be called between turns
        self._lock = RLock()  # once per batch: a limiter that answers later does so from its own thread

    def serve(self, arrivals: Sequence[Arrival], waited_us: int = 0) -> None:
        """Answer every call of a batch. Raises nothing, whatever is raised inside.

        What is no Exception (a library's panic, an exit asked for on this thread) is caught as well: nobody
        may end this thread but `CheckServer`, and while it is gone nobody is answered.

        Args:
            arrivals: calls, each with the time that it has left now.
            waited_us: how long the first of them has been waiting here.
        """
        turn = _Turn(arrivals)
        try:
            self._serve(turn, waited_us)
        except BaseException as error:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            self._last_resort([arrival.id for arrival in arrivals if arrival.id not in turn.done], error)

    def shed(self, arrivals: Sequence[Arrival]) -> None:
        """Refuse calls unread: more wait than can be judged in time. Raises nothing."""
        turn = _Turn(arrivals)
        try:
            turn.snapshot = self._current()
            turn.began_us = self._clock.ticks_us()
            self._refuse_unread(turn, arrivals, _BACKLOG)
        except BaseException as error:  # noqa: BLE001 - SECURITY: as above
            self._last_resort([arrival.id for arrival in arrivals if arrival.id not in turn.done], error)

    def sweep(self, *, all_held: bool = False) -> None:
        """Refuse what a limiter has held for so long that its caller will soon stop waiting. Raises nothing.

        Args:
            all_held: whatever it holds, since nobody will wait for it any more.
        """
        now_us = inf if all_held else self._clock.ticks_us()
        for held in self._escrow.overdue(now_us):
            held.then([_refused_like(held.check, _LATE)])

    @property
    def held(self) -> int:
        """How many calls wait for a limiter that answers later."""
        return len(self._escrow)

    def wait_us(self) -> float:
        """Return how long `sweep` has nothing to do; infinite where nothing is held."""
        return self._escrow.wait_us(self._clock.ticks_us())

    def _serve(self, turn: _Turn, waited_us: int) -> None:
        turn.snapshot = self._current()
        turn.now_us = now_us = self._clock.ticks_us()
        turn.began_us = now_us - waited_us
        soonest_s = inf
        batch: list[Call] = []
        late: list[Arrival] = []
        for arrival in turn.arrivals:
            call_id, payload, remaining_s = arrival
            if remaining_s is not None and remaining_s < soonest_s:
                if remaining_s < MARGIN_S:
                    late.append(arrival)
                    continue
                soonest_s = remaining_s
            batch.append(_new(Call, (call_id, payload)))
        turn.soonest_us = now_us + soonest_s * 1e6
        if late:
            self._refuse_unread(turn, late, _LATE)
        if batch:
            self._answer(batch, turn)

    def _answer(self, batch: Sequence[Call], turn: _Turn) -> None:
        """One call that crashes must not take its neighbours along: each is tried once more, alone."""
        error: BaseException | None = None
        limiter = _Handover(self._limiter, self._escrow, turn) if self.later else self._limiter
        finish = partial(self._finish_alone if self.later else self._finish, turn)
        try:
            answer(batch, turn.snapshot, limiter, self._guard, finish, self._clock.wall_us())
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
        finish([_refused(call, _CRASHED, error) for call in left])

    def _finish_alone(self, turn: _Turn, checks: Sequence[Check]) -> None:
        """Finish on the thread of a limiter, where nobody else catches what is raised."""
        try:
            self._finish(turn, checks)
        except BaseException as error:  # noqa: BLE001 - SECURITY: whatever it was, it is a refusal
            self._last_resort([check.call.id for check in checks], error)

    def _finish(self, turn: _Turn, checks: Sequence[Check]) -> None:
        """Reply first, then keep the record. INVARIANT: what was replied is kept, whatever follows."""
        with self._lock:
            snapshot, soonest_us = turn.snapshot, turn.soonest_us
            time_us, now_us = self._clock.wall_us(), self._clock.ticks_us()
            answered: list[Answered] = []
            try:
                for check in checks:
                    decision_id = self._mint(time_us)
                    try:
                        if now_us > soonest_us and now_us > turn.deadline_us(check.call.id):
                            _take_back(check)
                        status, payload = reply(check, snapshot, self._refuser, decision_id)
                        self._front.respond(check.call.id, payload)
                    except BaseException as error:  # noqa: BLE001 - SECURITY: as above
                        status = self._refuse(check, snapshot, decision_id, error)
                    turn.done.add(check.call.id)
                    if check.crash is not None:
                        self._tell(check.crash, decision_id)
                    now_us = self._clock.ticks_us()
                    spent_us = now_us - turn.began_us
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
                    )
                    answered.append(_new(Answered, fields))
            finally:
                if snapshot.shadow is None:
                    self._keep(answered, snapshot)
                else:
                    self._aside.ask(checks, answered, snapshot)

    def _refuse_unread(self, turn: _Turn, arrivals: Sequence[Arrival], deny: Deny) -> None:
        """Refuse many calls by one decision, with one answer and one record: judging is what is saved."""
        with self._lock:
            snapshot, time_us = turn.snapshot, self._clock.wall_us()
            decision_id = self._mint(time_us)
            check = _refused(Call(0, b""), deny)
            status, payload = 503, LAST_RESORT
            try:
                status, payload = reply(check, snapshot, self._refuser, decision_id)
            except BaseException as error:  # noqa: BLE001 - SECURITY: the prepared refusal does
                self._tell(error, decision_id)
            for call_id, _, remaining_s in arrivals:
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
        check.decision = _CRASHED
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


def _refused(call: Call, deny: Deny, crash: BaseException | None = None) -> Check:
    check = Check(call)
    check.decision = deny
    check.crash = crash
    return check


def _refused_like(check: Check, deny: Deny) -> Check:
    """Refuse in place of a check that somebody else may still change."""
    refused = _refused(check.call, deny)
    refused.request, refused.caller = check.request, check.caller
    refused.view, refused.named = check.view, check.named
    return refused


def _take_back(check: Check) -> None:
    """SECURITY: nobody is allowed after the deadline. What was spent is spent, and the record says so."""
    decision = check.decision
    if isinstance(decision, Allow):
        check.decision = _LATE._replace(spent=decision.spent)


class _Handover:
    """A limiter that answers later, as one turn sees it: what it takes is held in escrow meanwhile."""

    def __init__(self, limiter: Limiter, escrow: Escrow, turn: _Turn) -> None:
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
            finish([_refused(check.call, _CRASHED, error) for check in self._escrow.release(checks)])

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Pass on: nobody waits for these, so nothing is held."""
        self._limiter.spend_in_shadow(trials, then)

    def _back(self, finish: Finish, checks: Sequence[Check]) -> None:
        if mine := self._escrow.release(checks):
            finish(mine)

    def _due_us(self, check: Check) -> float:
        deadline_us = self._turn.deadline_us(check.call.id)
        return min(deadline_us - MARGIN_US, self._turn.now_us + _UNTIMED_US)
