"""The judging thread: it serves, it drains, and it lets go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import authz.check
from authz.model.errors import ConfigError
from authz.transport.backlog import BATCH_MAX
from authz.transport.front import Arrival
from authz.transport.server import CheckServer
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, WALL_US, Bench, FakeFront
from tests.support.policies import snapshot

OPEN = check_request(host="a.example.com", path="/open")
LIMITED = check_request(host="b.example.com", path="/")
LIMITING = snapshot(
    """
kind: Limit
metadata: {name: per-network}
spec: {per: [client.network], rate: 9/s}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [b.example.com]
  rules: [{name: r, effect: allow, identity: [anyone], limits: [per-network]}]
"""
)


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true in real time, which is for the judging thread alone to use."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s and not true():
        time.sleep(0.01)
    return true()


def arrivals(first: int, count: int) -> list[Arrival]:
    return [Arrival(number, OPEN, None) for number in range(first, first + count)]


class Ticks:
    """A clock of which each look costs a millisecond: nothing here waits for real time."""

    def __init__(self) -> None:
        self._now_us = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._now_us += 1000
            return self._now_us


def server(front: FakeFront, **times: float) -> CheckServer:
    return CheckServer(front, Bench(lambda: SNAPSHOT, front=front).shield, Ticks(), **times)


def test_everything_that_waits_is_served() -> None:
    front = FakeFront(arrivals(1, 3 * BATCH_MAX + 1))
    serving = server(front)
    serving.start()
    assert front.started
    assert serving.alive
    assert front.emptied.wait(10)
    serving.stop()
    serving.join()
    assert serving.waiting == 0
    assert all(front.allowed(call) for call in range(1, 3 * BATCH_MAX + 2))
    assert front.closed
    assert not serving.alive


def test_what_comes_while_draining_is_answered_too() -> None:
    """Envoy goes on sending after we are told to stop: calls come with every look until it notices."""

    class Sending(FakeFront):
        sent = 0
        stop = staticmethod(lambda: None)

        def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
            if self.sent == 5:
                self.stop()
            if self.sent < 50:
                self.waiting += arrivals(self.sent * 2 + 1, 2)
                self.sent += 1
            return super().take(most, timeout_ms)

    front = Sending()
    serving = server(front)
    front.stop = serving.stop
    serving.start()
    serving.join()
    assert front.sent == 50
    assert all(front.allowed(call) for call in range(1, 101))
    assert front.closed


def test_what_is_not_answered_yet_is_waiting() -> None:
    serving = server(FakeFront([]))
    serving._backlog.admit(arrivals(1, 3), 0)
    assert serving.waiting == 3


def test_a_drain_ends_though_calls_never_do() -> None:
    class Endless(FakeFront):
        sent = 0

        def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
            self.sent += 1
            return arrivals(self.sent, 1)

    front = Endless()
    serving = server(front, drain_s=0.2)
    serving.start()
    serving.stop()
    serving.join()
    assert front.closed
    assert all(front.allowed(call) for call in range(1, front.sent + 1))


def test_a_front_that_is_closed_ends_the_thread() -> None:
    for stop_first in (False, True):
        front = FakeFront()
        front.closed = True
        serving = server(front)
        if stop_first:
            serving.stop()
        serving.start()
        serving.join()
        assert not serving.alive


def test_a_server_that_never_started_can_be_joined() -> None:
    front = FakeFront()
    serving = server(front)
    serving.stop()
    serving.join()
    assert front.closed


def test_an_address_that_cannot_be_used_starts_no_thread() -> None:
    class Busy(FakeFront):
        def start(self) -> None:
            raise ConfigError("busy")

    serving = server(Busy())
    with pytest.raises(ConfigError):
        serving.start()
    assert not serving.alive
    serving.join()


class Costly:
    """A clock that stands still but for judging: each check that is read costs so many microseconds."""

    def __init__(self, cost_us: int) -> None:
        self.now_us, self.cost_us, self.read = 0, cost_us, 0

    def ticks_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return WALL_US

    def judge(self, *_: object) -> None:
        self.now_us += self.cost_us
        self.read += 1


def judged(clock: Costly, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each check that is judged cost what the clock says."""
    whole = authz.check.judge

    def slow(*parts: Any) -> Any:
        clock.judge()
        return whole(*parts)

    monkeypatch.setattr(authz.check, "judge", slow)


def shed_by(front: FakeFront, total: int) -> int:
    return sum(front.reply(call).denied_response.status.code == 503 for call in range(1, total + 1))


def test_twice_as_much_as_can_be_judged_is_shed_and_the_rest_is_judged_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2 ms a check, a call each millisecond, 200 ms of patience: half are judged, half refused at once."""
    clock = Costly(2000)
    judged(clock, monkeypatch)

    class Twice(FakeFront):
        sent = 0

        def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
            if self.sent == 2000:
                return super().take(most, timeout_ms)
            if timeout_ms:  # nothing to do: time passes
                clock.now_us += 1000
            new = min(2000, clock.now_us // 1000) - self.sent
            fresh = [Arrival(self.sent + at, OPEN, 0.2) for at in range(1, new + 1)]
            self.sent += new
            return fresh

    front = Twice()
    shield = Bench(lambda: SNAPSHOT, front=front, clock=clock).shield
    serving = CheckServer(front, shield, clock.ticks_us, drain_s=0)
    serving.start()
    assert eventually(lambda: len(front.replies) == 2000)
    serving.stop()
    serving.join()
    allowed = sum(front.allowed(call) for call in range(1, 2001))
    assert allowed + shed_by(front, 2000) == 2000  # everybody got an answer, and of these two only
    assert front.failed == {}
    assert clock.read == allowed  # nobody was judged in vain
    assert allowed >= 900  # of the 1,000 that can be judged at all


def test_a_burst_that_can_be_judged_in_time_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Costly(25)
    judged(clock, monkeypatch)
    front = FakeFront([Arrival(call, OPEN, 0.2) for call in range(1, 901)])
    serving = CheckServer(front, Bench(lambda: SNAPSHOT, front=front, clock=clock).shield, clock.ticks_us)
    serving.start()
    assert eventually(lambda: len(front.replies) == 900)
    assert all(front.allowed(call) for call in range(1, 901))
    front.closed = True
    serving.stop()
    serving.join()


def test_what_was_let_in_is_judged_though_the_drain_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Costly(10_000)
    judged(clock, monkeypatch)
    front = FakeFront([Arrival(call, OPEN, None) for call in range(1, 11)])
    shield = Bench(lambda: SNAPSHOT, front=front, clock=clock).shield
    serving = CheckServer(front, shield, clock.ticks_us, drain_s=0.02, max_wait_s=10.0)
    for _ in range(60):
        serving._backlog.learn(1, 10_000)  # so that a batch is one call
    serving.stop()
    serving.start()
    serving.join()
    assert all(front.allowed(call) for call in range(1, 11))
    assert clock.now_us == 100_000
    assert front.closed


def test_the_thread_looks_again_before_a_held_call_falls_due() -> None:
    class Never:
        later = True

        def spend(self, waiting: object, then: object) -> None: ...

    looks: list[int] = []

    class Watching(FakeFront):
        def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
            looks.append(timeout_ms)
            bench.clock.ticks += timeout_ms * 1000
            if len(looks) > 8:
                self.closed = True
            return super().take(most, 0)

    front = Watching([Arrival(1, LIMITED, 0.05)])
    bench = Bench(lambda: LIMITING, front=front, limiter=Never())
    serving = CheckServer(front, bench.shield, bench.clock.ticks_us)
    serving.start()
    serving.join()
    assert front.reply(1).denied_response.status.code == 503
    assert looks[:3] == [100, 46, 100]  # 5 ms before the deadline, and the first whole one after
