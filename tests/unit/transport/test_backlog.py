"""Who waits, who is refused at once, and how much is judged together."""

from __future__ import annotations

from authz.transport.backlog import BATCH_MAX, WAITING_MAX_BYTES, Backlog
from authz.transport.front import Arrival

MS = 1000


def calls(count: int, remaining_s: float | None = None, size: int = 10, first: int = 1) -> list[Arrival]:
    return [Arrival(first + at, b"x" * size, remaining_s) for at in range(count)]


def costing(cost_us: int, max_wait_ms: int = 50) -> Backlog:
    """Return one that has learned what a check costs."""
    backlog = Backlog(max_wait_ms * MS)
    for _ in range(80):
        backlog.learn(10, 10 * cost_us)
    return backlog


def test_as_many_wait_as_can_be_judged_in_time_and_the_others_are_refused() -> None:
    backlog = costing(100)
    refused = backlog.admit(calls(1000), 0)
    assert 498 <= len(backlog) <= 502  # 50 ms at 100 us each
    assert len(refused) == 1000 - len(backlog)
    assert refused[0].id == len(backlog) + 1  # first come, first served
    assert backlog.admit(calls(7, first=2000), 0) == calls(7, first=2000)


def test_who_waits_less_is_refused_sooner() -> None:
    """20 ms left, 5 of them kept: 150 calls of 100 us each; who has longer may still wait behind them."""
    backlog = costing(100)
    assert 840 <= len(backlog.admit(calls(1000, remaining_s=0.02), 0)) <= 860
    assert len(backlog.admit(calls(100, remaining_s=0.2), 0)) == 0


def test_a_pause_of_the_machine_refuses_nobody_who_can_still_be_judged() -> None:
    """All that came in 80 ms of standstill, at 10,000 calls a second, after a batch that took as long."""
    backlog = costing(25)
    backlog.learn(64, 80 * MS)
    assert backlog.admit(calls(800, remaining_s=0.12), 0) == []


def test_a_machine_that_is_busy_with_others_refuses_nobody_who_can_still_be_judged() -> None:
    """Every third batch of 16 is held up for 100 ms; 16 callers would be refused at 3 ms a check."""
    backlog = costing(50)
    for _ in range(30):
        backlog.learn(16, 100 * MS)
        backlog.learn(16, 16 * 50)
        backlog.learn(16, 16 * 50)
        assert backlog.admit(calls(16, remaining_s=0.2), 0) == []
        backlog.take(0)


def test_a_judge_that_became_slow_lets_in_fewer() -> None:
    backlog = costing(25)
    for _ in range(5):
        backlog.learn(backlog.batch, backlog.batch * 2 * MS)
    assert backlog.batch <= 3  # 5 ms of work
    backlog.admit(calls(1000), 0)
    assert 20 <= len(backlog) <= 35  # 50 ms of work
    for _ in range(5):
        backlog.learn(2, 50)
    assert backlog.batch == BATCH_MAX


def test_a_judge_that_was_slower_than_anybody_waits_is_found_well_again() -> None:
    """After seconds of standstill everybody was refused, so nothing was ever measured again."""
    backlog = costing(25)
    for _ in range(9):
        backlog.learn(1, 300 * MS)
    judged = []
    for _ in range(6):
        backlog.admit(calls(20, remaining_s=0.2), 0)
        batch, _ = backlog.take(0)
        backlog.learn(max(1, len(batch)), 25 * len(batch))
        judged.append(len(batch))
    assert judged == [1, 1, 1, 1, 1, 20]


def test_who_has_no_time_left_is_refused_though_nobody_waits() -> None:
    assert len(costing(25).admit(calls(1, remaining_s=0.004), 0)) == 1


def test_calls_are_handed_out_in_order_with_the_time_that_is_left() -> None:
    backlog = costing(25)
    backlog.admit(calls(BATCH_MAX, remaining_s=0.2), 0)
    backlog.admit(calls(3, first=100), 4 * MS)
    batch, waited_us = backlog.take(10 * MS)
    assert [each.id for each in batch] == list(range(1, BATCH_MAX + 1))
    assert {each.remaining_s for each in batch} == {0.19}
    assert waited_us == 10 * MS
    assert backlog.take(10 * MS) == (calls(3, first=100), 6 * MS)
    assert backlog.take(10 * MS) == ([], 0)


def test_the_bytes_that_wait_are_bounded() -> None:
    size = WAITING_MAX_BYTES // 4
    backlog = costing(1)
    assert len(backlog.admit(calls(6, size=size), 0)) == 2
    assert len(backlog.take(0)[0]) == 4
    assert backlog.admit(calls(4, size=size), 0) == []
