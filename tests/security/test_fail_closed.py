"""Every room, broken in four ways, behind both fronts, over a real socket.

The caller who hits the broken room is refused in so many words, or sees nothing where he gave up himself or
his deadline passed; never an allow. Whoever asks at the same time is answered as ever, and so is the next.
(More ways to break, and more rooms, without sockets: `tests/unit/test_fail_closed.py`.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import grpc
import pytest

import authz.check
import authz.transport.shield
from authz.check import Check
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.model.address import UnixAddress
from authz.policy.index import Index
from authz.proxy.stage import short_directory
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import Front
from authz.transport.grpcio import GrpcioFront
from authz.transport.native import NativeFront
from authz.transport.server import CheckServer
from authz.transport.shield import LAST_RESORT
from authz.wiring.clock import SystemClock
from tests.support.checks import check_request
from tests.support.fronts import Bench, FakeKeeper
from tests.support.grpc import client, read
from tests.support.policies import PROVIDER, MadeKey, snapshot

VICTIM = "victim.example.com"
MARK = "victim"  # in every name that has to do with the victim, so that each room can tell
NEIGHBOUR = "items.example.com"
KEY = MadeKey("reader")
SNAPSHOT = snapshot(
    PROVIDER,
    KEY.document,
    """
kind: Site
metadata: {name: others}
spec: {hosts: ["*"], guard: {rate: 1000/s, burst: 100000}}
---
kind: Site
metadata: {name: victim}
spec: {hosts: [victim.example.com], guard: {rate: 1000/s, burst: 100000}}
---
kind: Limit
metadata: {name: per-host}
spec: {per: [request.host], rate: 100000/s}
---
kind: Policy
metadata: {name: items}
spec:
  hosts: ["*"]
  rules: [{name: open, effect: allow, paths: [/open], identity: [partner-keys], limits: [per-host]}]
  onAllow: {headers: {x-host: request.host}}
""",
)
ALLOWED = check_request(host=VICTIM, path="/open", headers=[("x-api-key", KEY.token)])
REFUSED = check_request(host=VICTIM, path="/closed", headers=[("x-api-key", KEY.token)])
UNKNOWN = check_request(host=VICTIM, path="/open", headers=[("x-api-key", "no")])
GOOD = check_request(host=NEIGHBOUR, path="/open", headers=[("x-api-key", KEY.token)])
BAD = check_request(host=NEIGHBOUR, path="/closed")


class Part(NamedTuple):
    """A function of a room, where it is looked up, and a check on whose way it lies."""

    owner: object
    name: str
    asked: bytes = ALLOWED
    returns_nothing: bool = False  # as it always does


ROOMS = {
    "request: read": Part(authz.check, "read"),
    "limits: the guard asks": Part(Guard, "wait_ms"),
    "policy: the host": Part(Index, "view"),
    "policy: candidates": Part(Index, "candidates"),
    "identity: resolve": Part(authz.check, "resolve"),
    "policy: evaluate": Part(authz.check, "evaluate"),
    "limits: spend": Part(MemoryLimiter, "spend"),
    "limits: the guard charges": Part(Guard, "charge", UNKNOWN, returns_nothing=True),
    "check: reply": Part(authz.transport.shield, "reply"),
    "identity: removal": Part(authz.check, "strip"),
    "response: an allow": Part(message, "allow"),
    "snapshot: the site of a refusal": Part(Snapshot, "site", REFUSED),
    "response: a refusal": Part(Refuser, "refuse", REFUSED),
}
WAYS = ("raises", "returns nothing", "times out", "is cancelled")
DEADLINE_S = 0.2
PATIENCE_S = 20.0


class Breaking:
    """What stands in place of a function: broken for the victim, whole for everybody else."""

    def __init__(self, way: str, whole: Callable[..., Any]) -> None:
        self._way = way
        self._whole = whole
        self.reached = Event()
        self.caller_gone = Event()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Do what the function does, or break."""
        if not any(map(_is_about_the_victim, arguments)):
            return self._whole(*arguments, **named)
        self.reached.set()
        if self._way == "raises":
            raise RuntimeError("broken")
        if self._way == "returns nothing":
            return None
        assert self.caller_gone.wait(PATIENCE_S)  # judging takes longer than the caller waits; then goes on
        return self._whole(*arguments, **named)


def _is_about_the_victim(argument: object) -> bool:
    if isinstance(argument, Check):
        return MARK.encode() in argument.call.payload
    if isinstance(argument, list | tuple) and argument and isinstance(argument[0], Check):
        return any(map(_is_about_the_victim, argument))
    return MARK in repr(argument)


class Served(NamedTuple):
    """A front that serves, and how to ask it."""

    ask: Any  # a grpc client: it is called, or `.future` of it
    bench: Bench


def _native(address: UnixAddress) -> Front:
    return NativeFront(address, lambda: True)


def _grpcio(address: UnixAddress) -> Front:
    return GrpcioFront(address, lambda: True, LAST_RESORT)


@pytest.fixture(scope="module", params=[_native, _grpcio], ids=["native", "grpcio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    path = short_directory() / "a.sock"
    clock = SystemClock()
    front: Front = request.param(UnixAddress(path))
    bench = Bench(lambda: SNAPSHOT, front=front, clock=clock, limiter=MemoryLimiter(clock.ticks_us))
    server = CheckServer(front, bench.shield, clock.ticks_us, drain_s=1.0, idle_s=0.05, max_wait_s=PATIENCE_S)
    server.start()
    try:
        with client(f"unix:{path}") as ask:
            yield Served(ask, bench)
    finally:
        server.stop()
        server.join()
        _remove(path.parent)


def _remove(directory: Path) -> None:
    for left in directory.iterdir():
        left.unlink()
    directory.rmdir()


def _answers(futures: Sequence[Any]) -> list[int]:
    """Return what each caller was answered: 200 for an allow, else the status that its client sees."""
    answers = [read(future.result(timeout=PATIENCE_S)) for future in futures]
    return [answer.denied_response.status.code if answer.status.code else 200 for answer in answers]


def _break(monkeypatch: pytest.MonkeyPatch, part: Part, way: str) -> Breaking:
    breaking = Breaking(way, getattr(part.owner, part.name))

    def broken(*arguments: Any, **named: Any) -> Any:  # a function, so that a class binds it as a method
        return breaking(*arguments, **named)

    monkeypatch.setattr(part.owner, part.name, broken)
    return breaking


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("room", ROOMS)
def test_a_broken_room_allows_nobody_and_harms_no_neighbour(
    room: str, way: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ROOMS[room]
    with monkeypatch.context() as patched:
        breaking = _break(patched, part, way)
        before = [served.ask.future(each, timeout=PATIENCE_S) for each in (GOOD, BAD)]
        victim = served.ask.future(part.asked, timeout=DEADLINE_S if way == "times out" else PATIENCE_S)
        after = [served.ask.future(each, timeout=PATIENCE_S) for each in (BAD, GOOD)]
        _victim_sees(victim, breaking, part, way)
        assert _answers([*before, *after]) == [200, 403, 403, 200]
        assert breaking.reached.is_set()
    assert _answers([served.ask.future(each, timeout=PATIENCE_S) for each in (GOOD, BAD)]) == [200, 403]
    expected = [part.asked == ALLOWED]
    whole = _answers([served.ask.future(part.asked, timeout=PATIENCE_S)])
    assert [status == 200 for status in whole] == expected  # the room is what was in the way


def _victim_sees(victim: Any, breaking: Breaking, part: Part, way: str) -> None:
    match way:
        case "is cancelled":
            assert breaking.reached.wait(PATIENCE_S)
            victim.cancel()
            breaking.caller_gone.set()
            with pytest.raises(grpc.FutureCancelledError):
                victim.result(timeout=PATIENCE_S)
        case "times out":
            try:
                with pytest.raises(grpc.RpcError) as ended:
                    victim.result(timeout=PATIENCE_S)
            finally:
                breaking.caller_gone.set()
            assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        case "returns nothing" if part.returns_nothing:
            assert _answers([victim]) == [401]
        case _:
            assert _answers([victim])[0] in (429, 503)  # a guard that says nothing has not said yes


@pytest.mark.parametrize("room", ["limits: spend", "policy: evaluate", "request: read"])
def test_what_is_allowed_too_late_is_recorded_as_a_refusal(
    room: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = served.bench.keeper.answered
    answered.clear()
    with monkeypatch.context() as patched:
        breaking = _break(patched, ROOMS[room], "times out")
        victim = served.ask.future(ALLOWED, timeout=DEADLINE_S)
        with contextlib.suppress(grpc.RpcError):
            victim.result(timeout=PATIENCE_S)
        breaking.caller_gone.set()
        assert _answers([served.ask.future(GOOD, timeout=PATIENCE_S)]) == [200]
    assert [(one.request.host, one.status) for one in answered] == [(VICTIM, 503), (NEIGHBOUR, 200)]


@pytest.mark.parametrize("way", ["raises", "returns nothing"])
@pytest.mark.parametrize(("asked", "status"), [(ALLOWED, 200), (REFUSED, 403), (UNKNOWN, 401)])
def test_a_broken_record_room_changes_no_answer(
    asked: bytes, status: int, way: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told after the reply has left, so it can refuse nobody, and must let nobody in."""
    with monkeypatch.context() as patched:
        breaking = _break(patched, Part(FakeKeeper, "keep"), way)
        futures = [served.ask.future(each, timeout=PATIENCE_S) for each in (GOOD, asked, BAD)]
        assert _answers(futures) == [200, status, 403]
        assert breaking.reached.wait(PATIENCE_S)
    assert _answers([served.ask.future(GOOD, timeout=PATIENCE_S)]) == [200]
