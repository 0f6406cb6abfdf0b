"""The shield at work; how it holds when something breaks is asked in tests/unit/test_fail_closed.py."""

from __future__ import annotations

from authz.model.decision import Allow
from authz.record.entry import FixedFields
from authz.snapshot.snapshot import not_ready
from authz.transport.front import Arrival
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, WALL_US, Bench, FakeFront


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

    class Keeper:
        def keep(self, answered: object, fixed: FixedFields) -> None:
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
