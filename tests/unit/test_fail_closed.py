"""Every room, broken in every way: the caller is refused in so many words, its neighbours notice nothing.

A room raises, returns nothing, returns something of another type, or panics with what is no Exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import structlog
from envoy.service.auth.v3 import external_auth_pb2

import authz.check
import authz.transport.shield
from authz.model.decision import Allow, Deny, Grant, RuleName
from authz.model.limit import Rate, Spend, Spent, Store
from authz.model.reason import Code, Detail, Reason
from authz.model.request import Request
from authz.policy.index import Index
from authz.response import message
from authz.response.refusal import Refused, Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import DEADLINE_EXCEEDED, Arrival
from authz.transport.shield import MARGIN_S
from tests.support.checks import check_request
from tests.support.fronts import Bench, FakeClock, FakeKeeper
from tests.support.policies import OPEN_AND_LIMITED, PROVIDER, MadeKey, snapshot

KEY = MadeKey("reader")
SNAPSHOT = snapshot(PROVIDER, OPEN_AND_LIMITED, KEY.document)


class Panic(BaseException):
    """What a library throws that is no Exception."""


def ask(path: str, key: str = "") -> bytes:
    headers = [("x-api-key", key)] if key else []
    return check_request(host="items.example.com", path=path, headers=headers)


OPEN, LIMITED, CLOSED = ask("/open"), ask("/limited", KEY.token), ask("/closed")


def raising(error: BaseException) -> Callable[..., object]:
    def broken(*_: object, **__: object) -> object:
        raise error

    return broken


def returning(value: object) -> Callable[..., object]:
    return lambda *_, **__: value


WAYS = {
    "raises": raising(RuntimeError("broken")),
    "panics": raising(Panic()),
    "is interrupted": raising(KeyboardInterrupt()),
    "asks to exit": raising(SystemExit(0)),
    "runs out of memory": raising(MemoryError()),
    "returns nothing": returning(None),
    "returns true": returning(value=True),
    "returns text": returning("yes"),
    "returns an empty tuple": returning(()),
    "returns a number": returning(0),
}
# Every step between the bytes of a call and the bytes of its reply, where it is looked up.
ROOMS = {
    "read": (authz.check, "read"),
    "index.view": (Index, "view"),
    "index.candidates": (Index, "candidates"),
    "snapshot.access": (Snapshot, "access"),
    "snapshot.site": (Snapshot, "site"),
    "resolve": (authz.check, "resolve"),
    "evaluate": (authz.check, "evaluate"),
    "strip": (authz.check, "strip"),
    "message.allow": (message, "allow"),
    "message.cached_allow": (message, "cached_allow"),
    "reply": (authz.transport.shield, "reply"),
    "answer": (authz.transport.shield, "answer"),
}
# These build or refuse some answers only; what becomes of an allow is asked below.
ASKED_OF_SOME_ONLY = {"snapshot.site", "strip", "message.allow", "message.cached_allow"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("room", ROOMS)
def test_a_broken_room_refuses_explicitly(room: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*ROOMS[room], WAYS[way])
    front = Bench(lambda: SNAPSHOT).serve(OPEN, LIMITED, CLOSED, b"\xff")
    for call in (1, 2, 3, 4):
        answer = front.reply(call)
        if call < 3 and room in ASKED_OF_SOME_ONLY:
            continue
        assert answer.status.code != 0
        assert answer.denied_response.status.code >= 400
        assert answer.denied_response.body


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith(("raises", "panics", "returns"))])
@pytest.mark.parametrize("room", ["strip", "message.cached_allow"])
def test_an_allow_that_cannot_be_built_is_a_refusal(
    room: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*ROOMS[room], WAYS[way])
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(OPEN, CLOSED)
    assert not front.allowed(1)
    assert front.reply(1).denied_response.status.code == 503
    assert front.reply(2).denied_response.status.code == 403
    assert bench.keeper.answered[0].decision.reason is Reason.INTERNAL_ERROR  # type: ignore[union-attr] # a Deny


def _headers(argument: object) -> bytes:
    return b" ".join(argument.headers.values()) if isinstance(argument, Request) else b""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("room", ["read", "resolve", "evaluate", "strip"])
def test_neighbours_of_a_call_that_breaks_a_room_are_answered_as_ever(
    room: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name = ROOMS[room]
    whole = getattr(where, name)

    def sometimes(*arguments: Any) -> object:
        hit = any(b"break" in (each if isinstance(each, bytes) else _headers(each)) for each in arguments)
        return WAYS[way]() if hit else whole(*arguments)

    monkeypatch.setattr(where, name, sometimes)
    breaking = check_request(host="items.example.com", path="/open", headers=[("x-note", "break")])
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(OPEN, breaking, LIMITED, CLOSED)
    assert [front.allowed(call) for call in (1, 3, 4)] == [True, True, False]
    assert not front.allowed(2)
    assert front.reply(2).denied_response.status.code == 503
    assert len(bench.keeper.answered) == 4
    assert bench.crashes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", ["current", "mint"])
def test_a_broken_part_of_the_shield_refuses_explicitly(part: str, way: str) -> None:
    bench = Bench(**{"current": lambda: SNAPSHOT, part: WAYS[way]})  # type: ignore[arg-type] # broken on purpose
    front = bench.serve(OPEN, LIMITED, CLOSED)
    for call in (1, 2, 3):
        if part == "mint" and way.startswith("returns") and front.allowed(call):
            continue  # an id that is no id spoils a record, and allows nobody more
        assert front.reply(call).denied_response.status.code in (403, 503)


@pytest.mark.parametrize("way", ["raises", "panics"])
@pytest.mark.parametrize("which", ["wall_us", "ticks_us"])
def test_a_broken_clock_refuses_explicitly(which: str, way: str) -> None:
    clock = FakeClock()
    setattr(clock, which, WAYS[way])
    front = Bench(lambda: SNAPSHOT, clock=clock).serve(OPEN, LIMITED)
    assert [front.reply(call).denied_response.status.code for call in (1, 2)] == [503, 503]


class BrokenRefuser:
    on_allow = False

    def __init__(self, way: Callable[..., object]) -> None:
        self.refuse = way


@pytest.mark.parametrize(
    "way", [*WAYS.values(), returning(Refused(403, b"")), returning((200, b"")), returning((403, None))]
)
def test_a_refuser_that_breaks_still_refuses(way: Callable[..., object]) -> None:
    bench = Bench(lambda: SNAPSHOT, refuser=BrokenRefuser(way))
    front = bench.serve(OPEN, CLOSED, b"\xff")
    assert front.allowed(1)
    for call in (2, 3):
        answer = front.reply(call)
        assert (answer.status.code, answer.denied_response.status.code) == (14, 503)
    assert len(bench.keeper.answered) == 3


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_client_that_cannot_be_told_of_its_limits_is_refused(
    way: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refuser, "passed", way)
    bench = Bench(lambda: SNAPSHOT, refuser=Refuser("sidecar-1", on_allow=True))
    front = bench.serve(OPEN, LIMITED)
    assert front.allowed(1)
    answer = front.reply(2)
    assert (answer.status.code, answer.denied_response.status.code) == (14, 503)
    assert len(bench.keeper.answered) == 2


# --- the limiter

SPENT = Spent("per-key", True, 1, 0, 1, Rate(1.0, 1.0), Store.MEMORY)


class OddLimiter:
    """Settles in some odd way, and hands on."""

    def __init__(self, settle: Callable[[Any], None], hand_on: bool = True) -> None:
        self._settle, self._hand_on = settle, hand_on

    def spend(self, waiting: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        for check in waiting:
            self._settle(check)
        if self._hand_on:
            then(waiting)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "limiter",
    [
        OddLimiter(lambda _: None),
        OddLimiter(lambda _: None, hand_on=False),
        OddLimiter(lambda check: check.settle((SPENT,)), hand_on=False),
        OddLimiter(lambda check: check.settle(())),
        OddLimiter(lambda check: check.settle((SPENT, SPENT))),
        OddLimiter(lambda check: check.settle(None)),
        OddLimiter(lambda check: check.settle((None,))),
        OddLimiter(lambda check: check.settle((SPENT._replace(passed=False),))),
        OddLimiter(lambda _: _raise(RuntimeError())),
        OddLimiter(lambda _: _raise(Panic())),
        None,
        "limiter",
    ],
)
def test_a_limiter_that_breaks_refuses_whoever_waits_for_it_alone(limiter: object) -> None:
    bench = Bench(lambda: SNAPSHOT, limiter=limiter)
    front = bench.serve(OPEN, LIMITED, CLOSED, LIMITED)
    assert [front.allowed(call) for call in (1, 2, 3, 4)] == [True, False, False, False]
    assert front.reply(2).denied_response.status.code in (429, 503)
    assert len(bench.keeper.answered) == 4


def test_a_limiter_that_answers_twice_gets_one_reply_through() -> None:
    class Twice:
        def spend(self, waiting: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
            for check in waiting:
                check.settle((SPENT._replace(passed=False),))
            then(waiting)
            for check in waiting:
                check.settle((SPENT,))
            then(waiting)

    bench = Bench(lambda: SNAPSHOT, limiter=Twice())
    bench.serve(LIMITED)
    first, _ = map(external_auth_pb2.CheckResponse.FromString, bench.front.replies[1])
    assert first.status.code == Code.RESOURCE_EXHAUSTED  # the second came too late: see FakeFront


def test_tokens_of_neighbours_are_spent_once_though_a_reply_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    whole = message.cached_allow

    def sometimes(*arguments: Any) -> bytes:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("broken")
        return whole(*arguments)

    monkeypatch.setattr(message, "cached_allow", sometimes)
    bench = Bench(lambda: SNAPSHOT)
    front = bench.serve(LIMITED, LIMITED, LIMITED, LIMITED)  # the burst is three
    assert [front.allowed(call) for call in (1, 2, 3, 4)] == [True, False, True, False]
    assert front.reply(2).denied_response.status.code == 503
    assert front.reply(4).denied_response.status.code == 429


# --- after the reply


@pytest.mark.parametrize("way", WAYS.values())
def test_a_keeper_that_breaks_costs_no_answer(way: Callable[..., object]) -> None:
    class BrokenKeeper(FakeKeeper):
        keep = staticmethod(way)  # type: ignore[assignment] # it is called with the same

    front = Bench(lambda: SNAPSHOT, keeper=BrokenKeeper()).serve(OPEN, LIMITED, CLOSED)
    assert [front.allowed(call) for call in (1, 2, 3)] == [True, True, False]


def test_who_is_told_of_crashes_may_crash_too() -> None:
    bench = Bench(raising(RuntimeError()), crashed=raising(Panic()))  # type: ignore[arg-type] # as above
    assert bench.serve(OPEN).reply(1).denied_response.status.code == 503


def test_callers_who_have_gone_cost_their_neighbours_nothing() -> None:
    bench = Bench(lambda: SNAPSHOT)
    bench.front.gone = {1, 3}
    front = bench.serve(OPEN, OPEN, CLOSED, LIMITED)
    assert set(front.replies) == {2, 4}
    assert front.allowed(2)
    assert front.allowed(4)
    assert len(bench.keeper.answered) == 4
    assert not bench.crashes


def test_a_front_that_breaks_for_one_call_still_carries_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(lambda: SNAPSHOT)
    whole = bench.front.respond

    def respond(call_id: int, payload: bytes) -> bool:
        if call_id == 2:
            raise RuntimeError("gone")
        return whole(call_id, payload)

    monkeypatch.setattr(bench.front, "respond", respond)
    front = bench.serve(OPEN, OPEN, OPEN)
    assert front.allowed(1)
    assert front.allowed(3)
    assert 2 not in front.replies


# --- deadlines


def test_a_passed_deadline_is_a_grpc_error_and_never_an_allow() -> None:
    bench = Bench(lambda: SNAPSHOT)
    for remaining_s in (0.0, -1.0):
        front = bench.serve(OPEN, remaining_s=remaining_s)
        assert front.failed == {1: DEADLINE_EXCEEDED}
        assert front.replies == {}
    assert {each.decision for each in bench.keeper.answered} == {Deny(Reason.OVERLOADED, Detail.DEADLINE)}


def test_too_little_time_is_an_explicit_refusal() -> None:
    bench = Bench(lambda: SNAPSHOT)
    arrivals = [Arrival(1, OPEN, MARGIN_S / 2), Arrival(2, OPEN, MARGIN_S), Arrival(3, OPEN, None)]
    bench.shield.serve(arrivals)
    assert [bench.front.allowed(call) for call in (1, 2, 3)] == [False, True, True]
    assert bench.front.reply(1).denied_response.status.code == 503
    first = bench.keeper.answered[0]
    assert first.decision.reason is Reason.OVERLOADED  # type: ignore[union-attr] # a Deny
    assert first.decision.detail == "deadline"  # type: ignore[union-attr] # as above


# --- values that cannot be answered


def test_an_allow_without_a_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    grant = Grant((RuleName("p", "r"),), (), ())

    def judged(call: Any, *_: object) -> Any:
        check = authz.check.Check(call)
        check.decision = Allow(grant)
        return check

    monkeypatch.setattr(authz.check, "judge", judged)
    assert not Bench(lambda: SNAPSHOT).serve(OPEN).allowed(1)


def test_a_grant_with_spends_that_was_never_settled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spend = Spend("l", ("l",), Rate(1.0, 1.0), 1.0)

    def judged(call: Any, *_: object) -> Any:
        check = authz.check.Check(call)
        check.grant = Grant((RuleName("p", "r"),), (), (spend,))
        return check

    monkeypatch.setattr(authz.check, "judge", judged)
    bench = Bench(lambda: SNAPSHOT, limiter=OddLimiter(lambda _: None))
    assert not bench.serve(OPEN).allowed(1)


def test_a_check_begins_refused() -> None:
    check = authz.check.Check(authz.check.Call(1, b""))
    assert check.decision.reason is Reason.INTERNAL_ERROR  # type: ignore[union-attr] # a Deny
    check.settle((SPENT,))
    assert check.decision.reason is Reason.INTERNAL_ERROR  # type: ignore[union-attr] # as above


def test_what_is_logged_of_a_crash_carries_the_id_of_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    bench = Bench(
        lambda: SNAPSHOT,
        crashed=lambda _: told.append(structlog.contextvars.get_contextvars().get("decision_id")),
    )
    monkeypatch.setattr("authz.check.resolve", raising(RuntimeError()))
    refused = bench.serve(OPEN).reply(1).denied_response
    sent = {option.header.key: option.header.value for option in refused.headers}
    assert told == [sent["x-authz-decision-id"]]
    assert told == [bench.keeper.answered[0].decision_id]
