"""What only the native front does; what every front keeps is in `tests/contract/test_fronts.py`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pygrpc_native import EVENT_CALL, STREAM_CLOSED, STREAM_FULL, STREAM_SENT

from authz.model.address import UnixAddress
from authz.model.errors import ConfigError
from authz.transport import health
from authz.transport.native import NativeFront
from authz.transport.server import CheckServer
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, Bench
from tests.support.grpc import client, read

OPEN = check_request(host="a.example.com", path="/open")


@contextmanager
def serving(path: Path) -> Iterator[CheckServer]:
    front = NativeFront(UnixAddress(path))
    bench = Bench(lambda: SNAPSHOT, front=front)
    running = CheckServer(front, bench.shield, lambda: time.monotonic_ns() // 1000, idle_s=0.02)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        running.join()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(path), client(f"unix:{path}") as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="something that is no socket"):
        NativeFront(UnixAddress(path)).start()
    assert path.read_text() == "mine"


class Library:
    """The library, as it is when a watcher does not read or has gone."""

    def __init__(self) -> None:
        self.events: list[Any] = [(EVENT_CALL, 7, 2, b"", b"", ((), "", None))]
        self.results = [STREAM_FULL, STREAM_SENT, STREAM_CLOSED]
        self.sent: list[bytes] = []

    def recv_batch_details(self, most: int, timeout_ms: int) -> list[Any]:
        events, self.events = self.events, []
        return events

    def stream_try_send(self, call_id: int, payload: bytes) -> int:
        self.sent.append(payload)
        return self.results.pop(0)


def test_a_watcher_that_does_not_read_is_told_later_and_one_that_is_gone_is_forgotten() -> None:
    state = SimpleNamespace(on=True)
    front, library = NativeFront(UnixAddress(Path("x")), lambda: state.on), Library()
    front._front = library  # type: ignore[assignment] # what is used of it
    yes, no = health.told(serving=True), health.told(serving=False)
    for now, sent in ((True, [yes]), (True, [yes] * 2), (True, [yes] * 2), (False, [yes, yes, no])):
        state.on = now
        assert front.take(64, 0) == []
        assert library.sent == sent
    state.on = True
    front.take(64, 0)
    assert len(library.sent) == 3
