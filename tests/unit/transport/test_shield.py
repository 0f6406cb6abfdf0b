"""The shield at work; how it holds when something breaks is asked in tests/unit/test_fail_closed.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from authz.limits.memory import MemoryLimiter
from authz.limits.store import S
from authz.model.decision import Allow, Answered, Deny
from authz.model.reason import Detail, Reason
from authz.record.entry import FixedFields
from authz.snapshot.snapshot import not_ready
from authz.transport.front import Arrival
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, WALL_US, Bench, FakeClock, FakeFront, FakeKeeper
from tests.support.policies import snapshot


def ask(path: str) -> bytes:
    return check_request(host="a.example.com", path=path)


def test_every_call_of_a_batch_gets_its_own_answer() -> None:
    front = Bench(lambda: SNAPSHOT).serve(ask("/open"), ask("/closed"), b"\xff", ask("/open"))
    assert [front.allowed(call) for call in (1, 2, 3, 4)] == [True, False, False, True]
    assert [front.reply(call).denied_response.status.code for call in (2, 3)] == [403, 400]


def test_an_empty_batch_asks_nobody() -> None:
    bench = Bench(lambda: SNAPSHOT)
    bench.shield.serve([])
    assert (bench.front.replies, bench.keeper.answered, bench.crashes) == ({}, [], [])


def test_a_batch_has_one_snapshot() -> None:
    asked = iter([SNAPSHOT, not_ready("gone")])
    front = Bench(lambda: next(asked)).serve(ask("/open"), ask("/open"))
    assert [front.allowed(call) for call in (1, 2)] == [True, True]


def test_records_are_kept_after_the_replies_have_left() -> None:
    front = FakeFront()
    seen: list[int] = []

    class Keeper(FakeKeeper):
        def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
            seen.append(len(front.replies))
            assert fixed is SNAPSHOT.fixed

    Bench(lambda: SNAPSHOT, front=front, keeper=Keeper()).serve(ask("/open"), ask("/closed"))
    assert seen == [2]


def test_a_record_has_the_id_that_the_client_is_told_and_both_times() -> None:
    bench = Bench(lambda: SNAPSHOT)
    bench.serve(ask("/closed"), ask("/open"))
    refused, allowed = bench.keeper.answered
    told = {option.header.key: option.header.value for option in bench.front.reply(1).denied_response.headers}
    assert refused.decision_id == told["x-authz-decision-id"]
    assert refused.decision_id != allowed.decision_id
    assert (refused.time_us, refused.status, allowed.status) == (WALL_US, 403, 200)
    assert isinstance(allowed.decision, Allow)
    assert refused.duration_us == 0


def test_late_calls_do_not_hold_up_the_others() -> None:
    bench = Bench(lambda: SNAPSHOT)
    bench.shield.serve(
        [Arrival(1, ask("/open"), -1.0), Arrival(2, ask("/open"), 0.001), Arrival(3, ask("/open"), 9.0)]
    )
    assert bench.front.failed == {1: 4}
    assert [bench.front.allowed(call) for call in (2, 3)] == [False, True]
    assert len(bench.keeper.answered) == 2


def test_a_set_that_is_not_ready_refuses_everything() -> None:
    front = Bench(lambda: not_ready("nothing")).serve(ask("/open"), b"")
    assert [front.reply(call).denied_response.status.code for call in (1, 2)] == [503, 503]


def test_calls_that_are_shed_share_one_decision_and_one_record() -> None:
    """Nothing of them was read, so their records would be alike but for the id."""
    bench = Bench(lambda: SNAPSHOT)
    bench.shield.shed([Arrival(call, ask("/open"), 0.1) for call in range(1, 58)])
    answers = {bench.front.replies[call][0] for call in range(1, 58)}
    assert len(answers) == 1
    assert bench.front.reply(7).denied_response.status.code == 503
    (record,) = bench.keeper.answered
    assert (record.checks, record.status, record.decision) == (
        57,
        503,
        Deny(Reason.OVERLOADED, Detail.BACKLOG),
    )
    assert record.decision_id.encode() in answers.pop()


def test_an_allow_that_was_judged_for_too_long_is_a_refusal() -> None:
    """The deadline of the first passes while the batch is judged; the second has more time."""

    class Slow(MemoryLimiter):
        def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
            clock.ticks = 100_001
            super().spend(waiting, then)

    limited = snapshot(
        """
kind: Limit
metadata: {name: per-network}
spec: {per: [client.network], rate: 9/s}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [anyone], limits: [per-network]}]
"""
    )
    clock = FakeClock()
    bench = Bench(lambda: limited, clock=clock, limiter=Slow(clock.ticks_us))
    bench.shield.serve([Arrival(1, ask("/open"), 0.1), Arrival(2, ask("/open"), 9.0)])
    assert [bench.front.allowed(call) for call in (1, 2)] == [False, True]
    assert [each.status for each in bench.keeper.answered] == [503, 200]


@pytest.mark.parametrize("broken", ["current", "mint", "refuser", "front"])
def test_what_breaks_while_shedding_still_refuses(broken: str) -> None:
    def breaks(*_: object, **__: object) -> Any:
        raise RuntimeError("broken")

    bench = Bench(breaks if broken == "current" else lambda: SNAPSHOT)
    if broken == "mint":
        bench = Bench(lambda: SNAPSHOT, mint=breaks)
    if broken == "refuser":
        bench = Bench(lambda: SNAPSHOT, refuser=SimpleNamespace(refuse=breaks))
    if broken == "front":
        whole, tries = bench.front.respond, iter([breaks])
        bench.front.respond = lambda *each: next(tries, whole)(*each)  # type: ignore[method-assign] # once
    bench.shield.shed([Arrival(1, ask("/open"), 0.1), Arrival(2, ask("/open"), None)])
    assert [bench.front.reply(call).denied_response.status.code for call in (1, 2)] == [503, 503]
    assert bench.crashes


def test_where_no_record_could_be_kept_every_call_is_refused_unread_by_one_record() -> None:
    bench = Bench(lambda: SNAPSHOT)
    bench.keeper.full = True
    front = bench.serve(ask("/open"), ask("/closed"), b"\xff")
    assert [front.reply(call).denied_response.status.code for call in (1, 2, 3)] == [503, 503, 503]
    (kept,) = bench.keeper.answered
    assert kept.decision == Deny(Reason.OVERLOADED, Detail.UNRECORDED)
    assert kept.checks == 3
    bench.keeper.full = False
    front.replies.clear()
    assert bench.serve(ask("/open")).allowed(1)
