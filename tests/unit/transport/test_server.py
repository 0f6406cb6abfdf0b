"""The judging thread: it serves, it drains, and it lets go."""

from __future__ import annotations

import threading

import pytest

from authz.model.errors import ConfigError
from authz.transport.front import Arrival
from authz.transport.server import BATCH_MAX, CheckServer
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, Bench, FakeFront

OPEN = check_request(host="a.example.com", path="/open")


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
