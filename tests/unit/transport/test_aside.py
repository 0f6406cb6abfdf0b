"""Whatever breaks where documents in shadow are asked: the replies stand, and every record is kept once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import pytest

import authz.transport.aside
from authz.check import review
from authz.limits.memory import MemoryLimiter
from authz.model.decision import Answered
from authz.model.shadow import CRASHED, Review, Shade, Trial, Would
from authz.policy.index import Index
from authz.policy.shadow import Shadow
from tests.support.checks import check_request
from tests.support.fronts import Bench, FakeKeeper
from tests.support.policies import snapshot

SET = """
kind: Limit
metadata: {name: tried}
spec: {per: [client.network], rate: 1/d, mode: shadow}
---
kind: Policy
metadata: {name: served}
spec:
  hosts: [items.example.com]
  rules: [{name: open, effect: allow, paths: [/open], identity: [anyone], limits: [tried]}]
---
kind: Policy
metadata: {name: next}
spec:
  mode: shadow
  hosts: [items.example.com]
  rules: [{name: no, effect: deny}]
"""
SNAPSHOT = snapshot(SET)
OPEN, CLOSED = (check_request(host="items.example.com", path=path) for path in ("/open", "/closed"))


class Panic(BaseException):
    """What a library throws that is no Exception."""


def raising(error: BaseException) -> Callable[..., object]:
    def broken(*_: object, **__: object) -> object:
        raise error

    return broken


def would(one: Answered) -> list[Would]:
    return [shade.would for shade in one.shadow]


def test_after_the_replies_every_document_in_shadow_has_been_asked() -> None:
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(OPEN, CLOSED, OPEN)
    assert [front.allowed(call) for call in (1, 2, 3)] == [True, False, True]
    answered = bench.keeper.answered
    assert sorted(len(one.shadow) for one in answered) == [1, 2, 2]
    allowed = [one for one in answered if one.status == 200]
    assert [would(one) for one in allowed] == [[Would.DENY, Would.ALLOW], [Would.DENY, Would.DENY]]


def test_no_reply_waits_for_a_document_in_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(lambda: SNAPSHOT)
    seen: list[int] = []

    def counting(*arguments: Any) -> Review | None:
        seen.append(len(bench.front.replies))
        return review(*arguments)

    monkeypatch.setattr(authz.transport.aside, "review", counting)
    bench.serve(OPEN, OPEN, OPEN)
    assert seen == [3, 3, 3]


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), Panic(), KeyboardInterrupt(), SystemExit(0), MemoryError()]
)
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (authz.transport.aside, "review"),
        (Shadow, "review"),
        (Shadow, "_ask_policies"),
        (Review, "settled"),
        (Trial, "settle"),
        (MemoryLimiter, "spend_in_shadow"),
    ],
)
def test_a_crash_there_costs_no_reply_and_no_record(
    where: object, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, raising(error))
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(OPEN, CLOSED, b"\xff")
    assert [front.allowed(call) for call in (1, 2, 3)] == [True, False, False]
    assert len(bench.keeper.answered) == 3
    assert error in bench.crashes
    (allowed,) = (one for one in bench.keeper.answered if one.status == 200)
    assert Would.CRASHED in would(allowed)


@pytest.mark.parametrize("found", [None, (), "yes", 0, True, object()])
def test_what_is_no_review_is_a_crash_in_the_record_alone(
    found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shadow, "review", lambda *_: found)
    bench = Bench(lambda: SNAPSHOT)
    assert bench.serve(OPEN).allowed(1)
    (one,) = bench.keeper.answered
    assert one.shadow in ((), CRASHED)


def test_one_that_crashes_takes_no_neighbour_along(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Index.candidates
    monkeypatch.setattr(
        Index,
        "candidates",
        lambda index, view, request: (
            raising(RuntimeError())()
            if "break" in request.headers and index is SNAPSHOT.shadow.policies  # type: ignore[union-attr] # it has one
            else whole(index, view, request)
        ),
    )
    breaking = check_request(host="items.example.com", path="/open", headers=[("break", "1")])
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(OPEN, breaking, OPEN)
    assert all(front.allowed(call) for call in (1, 2, 3))
    told = [would(one) for one in bench.keeper.answered]
    assert told == [[Would.DENY, Would.ALLOW], [Would.CRASHED], [Would.DENY, Would.DENY]]


class Forgetful(MemoryLimiter):
    """Draws, and hands nothing on."""

    def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        super().spend_in_shadow(trials, lambda _: None)


class Twice(MemoryLimiter):
    """Hands on twice."""

    def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        super().spend_in_shadow(trials, then)
        then(trials)


class Crashing(MemoryLimiter):
    """Hands on, and breaks."""

    def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        super().spend_in_shadow(trials, then)
        raise RuntimeError("broken")


class Later(MemoryLimiter):
    """Hands what is in shadow on from a thread of its own, when it is told to."""

    later = True

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.waiting: list[Callable[[], None]] = []

    def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        self.waiting.append(lambda: super(Later, self).spend_in_shadow(trials, then))

    def answer(self) -> None:
        for each in self.waiting:
            thread = Thread(target=each)
            thread.start()
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("kind", [Forgetful, Twice, Crashing])
def test_every_record_is_kept_once_whatever_the_limiter_does(kind: type[MemoryLimiter]) -> None:
    bench = Bench(lambda: SNAPSHOT, limiter=kind(lambda: 0))
    bench.serve(OPEN, OPEN)
    assert [would(one) for one in bench.keeper.answered] == [
        [Would.DENY, Would.ALLOW],
        [Would.DENY, Would.DENY],
    ]


def test_a_limiter_that_answers_later_delays_the_record_and_nothing_else() -> None:
    limiter = Later()
    bench = Bench(lambda: SNAPSHOT, limiter=limiter)
    front = bench.serve(OPEN, OPEN)
    assert all(front.allowed(call) for call in (1, 2))
    assert bench.keeper.answered == []
    limiter.answer()
    assert [would(one) for one in bench.keeper.answered] == [
        [Would.DENY, Would.ALLOW],
        [Would.DENY, Would.DENY],
    ]


def test_a_limiter_that_breaks_in_shadow_says_so_in_the_record() -> None:
    class Broken(MemoryLimiter):
        def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
            raise RuntimeError("broken")

    bench = Bench(lambda: SNAPSHOT, limiter=Broken(lambda: 0))
    bench.serve(OPEN)
    (one,) = bench.keeper.answered
    assert one.shadow[1] == Shade(Would.CRASHED, limit="tried")


def test_a_keeper_that_breaks_is_told_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def broken(_: FakeKeeper, answered: Sequence[Answered], __: object) -> None:
        asked.append(len(answered))
        raise RuntimeError("broken")

    monkeypatch.setattr(FakeKeeper, "keep", broken)
    bench = Bench(lambda: SNAPSHOT)
    assert bench.serve(OPEN).allowed(1)
    assert asked == [1]
    assert len(bench.crashes) == 1


def test_without_documents_in_shadow_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = snapshot(SET.replace("mode: shadow", "mode: enforce"))
    monkeypatch.setattr(authz.transport.aside.Aside, "ask", raising(RuntimeError("asked")))
    bench = Bench(lambda: plain)
    bench.serve(OPEN)
    assert bench.crashes == []
    assert bench.keeper.answered[0].shadow == ()
