"""Calls change hands between threads: each is answered once, and none is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from authz.transport.desk import CANCELLED, Desk, Unanswered
from authz.transport.front import Arrival


class Call:
    """A call of grpcio's, as far as it is used."""

    def __init__(self, remaining_s: float | None = 1.0, *metadata: tuple[str, str | bytes]) -> None:
        self.active = True
        self.remaining_s = remaining_s
        self.metadata = metadata

    def is_active(self) -> bool:
        return self.active

    def time_remaining(self) -> float | None:
        return self.remaining_s

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return self.metadata


class Caller:
    """A thread that asks and waits."""

    def __init__(self, desk: Desk, call: Call) -> None:
        self.reply: bytes | Unanswered | None = None
        self._desk, self._call = desk, call
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self.reply = self._desk.ask(b"question", self._call)
        except Unanswered as ended:
            self.reply = ended

    def result(self) -> bytes | Unanswered | None:
        self._thread.join(10)
        return self.reply


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def test_a_call_is_taken_and_answered_once(desk: Desk) -> None:
    caller = Caller(desk, Call())
    assert desk.take(8, 5000) == [Arrival(1, b"question", 1.0)]
    assert desk.answer(1, b"yes")
    assert not desk.answer(1, b"no")
    desk.end(1, 13, "late")
    assert caller.result() == b"yes"


@pytest.mark.parametrize(("remaining_s", "told"), [(None, None), (9e18, None), (0.0, 0.0)])
def test_a_caller_that_waits_for_ever_is_told_apart(
    desk: Desk, remaining_s: float | None, told: float | None
) -> None:
    Caller(desk, Call(remaining_s))
    assert desk.take(8, 5000) == [Arrival(1, b"question", told)]


def test_the_trace_that_a_call_belongs_to_comes_with_it(desk: Desk) -> None:
    Caller(desk, Call(1.0, ("user-agent", "envoy"), ("traceparent", "00-a-b-01")))
    assert desk.take(8, 5000) == [Arrival(1, b"question", 1.0, "00-a-b-01")]


def test_who_gave_up_is_neither_judged_nor_told_yes(desk: Desk) -> None:
    gone, later = Call(), Call()
    gone.active = False
    first = Caller(desk, gone)
    assert desk.take(8, 5000) == []
    ended = first.result()
    assert isinstance(ended, Unanswered)
    assert ended.code == CANCELLED
    Caller(desk, later)
    (arrival,) = desk.take(8, 5000) or []
    later.active = False
    assert not desk.answer(arrival.id, b"yes")


def test_closing_ends_who_waits_and_who_comes(desk: Desk) -> None:
    waiting = Caller(desk, Call())
    assert desk.take(8, 5000)
    desk.close()
    late = Caller(desk, Call())
    for caller in (waiting, late):
        assert isinstance(caller.result(), Unanswered)
    assert desk.take(8, 0) is None
    assert not desk.answer(1, b"yes")


def test_what_was_turned_away_is_told_in_batches_and_has_no_caller(desk: Desk) -> None:
    for _ in range(5):
        desk.turn_away()
    first = desk.take(3, 0) or []
    second = desk.take(3, 0) or []
    assert [len(first), len(second)] == [3, 2]
    assert desk.take(3, 0) == []
    assert len({arrival.id for arrival in first + second}) == 5
    assert all(arrival.payload == b"" and arrival.remaining_s == 0.001 for arrival in first + second)
    assert not any(desk.answer(arrival.id, b"yes") for arrival in first + second)
