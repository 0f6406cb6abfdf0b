"""A limiter that answers later, in every odd way: each call gets one reply, and never an allow too late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from authz.model.decision import Allow, Deny
from authz.model.limit import Rate, Spent, Store
from authz.model.reason import Detail, Reason
from authz.transport.front import Arrival
from authz.transport.shield import MARGIN_S
from tests.support.checks import check_request
from tests.support.fronts import Bench
from tests.support.policies import OPEN_AND_LIMITED, PROVIDER, MadeKey, snapshot

KEY = MadeKey("reader")
SNAPSHOT = snapshot(PROVIDER, OPEN_AND_LIMITED, KEY.document)
OPEN = check_request(host="items.example.com", path="/open")
LIMITED = check_request(host="items.example.com", path="/limited", headers=[("x-api-key", KEY.token)])
SPENT = Spent("per-key", True, 1, 0, 1, Rate(1.0, 1.0), Store.REDIS)
LATE = Deny(Reason.OVERLOADED, Detail.DEADLINE)


class LaterLimiter:
    """Keeps what it is given until the test says what becomes of it."""

    later = True

    def __init__(self, error: BaseException | None = None) -> None:
        self.given: list[tuple[Sequence[Any], Callable[[Sequence[Any]], None]]] = []
        self.error = error

    def spend(self, waiting: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        self.given.append((waiting, then))
        if self.error is not None:
            raise self.error

    def answer(self) -> None:
        """Settle everything and hand it on."""
        for waiting, then in self.given:
            for check in waiting:
                check.settle((SPENT,))
            then(waiting)


def bench(limiter: LaterLimiter) -> Bench:
    return Bench(lambda: SNAPSHOT, limiter=limiter)


def decisions(of: Bench) -> list[object]:
    return [each.decision for each in of.keeper.answered]


def test_a_limiter_that_answers_later_is_waited_for() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, OPEN, LIMITED, remaining_s=0.2)
    assert list(front.replies) == [2]
    assert asked.shield.held == 2
    asked.shield.sweep()
    assert list(front.replies) == [2]
    limiter.answer()
    assert [front.allowed(call) for call in (1, 2, 3)] == [True, True, True]
    assert asked.shield.held == 0
    assert asked.crashes == []


def test_a_limiter_that_never_answers_costs_its_callers_an_explicit_refusal_in_time() -> None:
    asked = bench(LaterLimiter())
    front = asked.serve(LIMITED, LIMITED, remaining_s=0.2)
    assert asked.shield.wait_us() == (0.2 - MARGIN_S) * 1e6
    asked.clock.ticks = int((0.2 - MARGIN_S) * 1e6) - 1
    asked.shield.sweep()
    assert front.replies == {}
    asked.clock.ticks += 1
    asked.shield.sweep()
    assert [front.reply(call).denied_response.status.code for call in (1, 2)] == [503, 503]
    assert decisions(asked) == [LATE, LATE]
    assert asked.keeper.answered[0].caller.identity.key_id  # the record still says who asked
    assert asked.shield.held == 0


def test_a_limiter_that_answers_too_late_allows_nobody() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, remaining_s=0.2)
    asked.clock.ticks = 200_000
    asked.shield.sweep()
    limiter.answer()
    assert not front.allowed(1)
    assert decisions(asked) == [LATE]


def test_an_allow_that_comes_after_the_deadline_and_before_the_sweep_is_a_refusal() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, remaining_s=0.2)
    asked.clock.ticks = 200_001
    limiter.answer()
    asked.shield.sweep()
    assert not front.allowed(1)
    assert decisions(asked) == [LATE._replace(spent=(SPENT,))]  # what was spent is on record


def test_a_limiter_that_answers_twice_is_heard_once() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, remaining_s=0.2)
    limiter.answer()
    limiter.answer()
    assert front.allowed(1)
    assert len(asked.keeper.answered) == 1


def test_a_limiter_that_raises_is_not_asked_again_and_its_callers_are_refused() -> None:
    """It may have spent: asking it again might spend twice."""
    limiter = LaterLimiter(RuntimeError("connection lost"))
    asked = bench(limiter)
    front = asked.serve(LIMITED, OPEN, LIMITED, remaining_s=0.2)
    assert [front.allowed(call) for call in (1, 2, 3)] == [False, True, False]
    limiter.answer()
    assert len(limiter.given) == 1
    assert len(asked.keeper.answered) == 3
    assert asked.crashes == [limiter.error, limiter.error]


def test_a_limiter_that_hands_on_what_it_did_not_settle_allows_nobody() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, remaining_s=0.2)
    for waiting, then in limiter.given:
        then(waiting)
    assert not front.allowed(1)


def test_a_caller_without_a_deadline_is_not_held_for_ever() -> None:
    asked = bench(LaterLimiter())
    front = asked.serve(LIMITED)
    asked.clock.ticks = 10_000_000
    asked.shield.sweep()
    assert not front.allowed(1)


def test_at_the_end_nothing_stays_unanswered() -> None:
    asked = bench(LaterLimiter())
    front = asked.serve(LIMITED, remaining_s=60.0)
    asked.shield.sweep(all_held=True)
    assert front.reply(1).denied_response.status.code == 503


def test_a_reply_that_breaks_on_the_limiters_thread_is_a_refusal() -> None:
    limiter = LaterLimiter()
    asked = bench(limiter)
    front = asked.serve(LIMITED, remaining_s=0.2)
    asked.clock.wall_us = lambda: 1 // 0  # type: ignore[method-assign] # broken on purpose
    limiter.answer()
    assert front.reply(1).denied_response.status.code == 503
    assert len(asked.crashes) == 1


def test_whoever_comes_first_answers_whatever_thread_it_is() -> None:
    """A limiter's thread and the sweep race for 400 calls: one reply and one record each."""
    limiter = LaterLimiter()
    asked = bench(limiter)
    for at in range(100):
        asked.shield.serve([Arrival(at * 4 + each, LIMITED, 0.2) for each in range(4)])
    start = threading.Barrier(2)

    def late() -> None:
        start.wait()
        limiter.answer()

    thread = threading.Thread(target=late)
    thread.start()
    start.wait()
    for _ in range(50):
        asked.shield.sweep(all_held=True)
    thread.join()
    assert [len(replies) for replies in asked.front.replies.values()] == [1] * 400
    assert len({each.decision_id for each in asked.keeper.answered}) == 400
    for call, answered in zip(range(400), sorted(asked.keeper.answered, key=_order(asked)), strict=True):
        assert asked.front.allowed(call) == isinstance(answered.decision, Allow)


def _order(asked: Bench) -> Callable[[Any], int]:
    """Records in the order of their calls: the answer says which record is whose."""
    ids = {
        option.header.value: call
        for call in asked.front.replies
        for option in asked.front.reply(call).denied_response.headers
        if option.header.key == "x-authz-decision-id"
    }
    allowed = iter([call for call in sorted(asked.front.replies) if asked.front.allowed(call)])
    places = {
        each.decision_id: ids[each.decision_id] if each.decision_id in ids else next(allowed)
        for each in asked.keeper.answered
    }
    return lambda answered: places[answered.decision_id]
