"""The caller's side of HTTP/2, against a server of the test's own that says what it likes."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from authz.bench.connection import BROKEN, PREFACE, Connection, frame
from authz.bench.openloop import Run
from authz.proxy.stage import short_directory

PAYLOAD = b"\0\0\0\0\1x"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8


def answer(code: int) -> bytes:
    """What a CheckResponse begins with, in its gRPC frame: an empty status, or one with a code."""
    message = b"\x0a\x02\x08" + bytes((code,)) if code else b"\x0a\0\x1a\0"
    return b"\0" + len(message).to_bytes(4, "big") + message


class Line(NamedTuple):
    ours: Connection
    theirs: socket.socket
    ended: list[tuple[int, float]]

    def say(self, *frames: bytes) -> None:
        self.theirs.sendall(b"".join(frames))
        self.ours.read()

    def hear(self) -> bytes:
        self.ours.flush()
        return self.theirs.recv(1 << 20)


@pytest.fixture
def line() -> Iterator[Line]:
    directory = short_directory()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        listener.listen()
        ended: list[tuple[int, float]] = []
        ours = Connection(
            str(directory / "s"), "200m", [PAYLOAD], lambda code, due_s: ended.append((code, due_s))
        )
        theirs, _ = listener.accept()
        yield Line(ours, theirs, ended)
        ours.close()
        theirs.close()
    shutil.rmtree(directory)


def test_it_begins_as_http_2_does_and_names_its_deadline(line: Line) -> None:
    assert line.ours.ask(1.0, 0)
    heard = line.hear()
    assert heard.startswith(PREFACE)
    assert b"grpc-timeout\x04200m" in heard
    assert heard.endswith(PAYLOAD)


def test_each_answer_is_told_with_its_code_and_when_it_was_due(line: Line) -> None:
    assert line.ours.ask(1.0, 0)
    assert line.ours.ask(2.0, 0)
    line.say(frame(DATA, 0, 3, answer(7)), frame(DATA, 0, 1, answer(0)))
    assert line.ended == [(7, 2.0), (0, 1.0)]
    line.say(frame(HEADERS, 5, 1, b""), frame(HEADERS, 5, 3, b""))  # the trailers say nothing new
    assert len(line.ended) == 2


def test_an_answer_may_come_in_pieces(line: Line) -> None:
    assert line.ours.ask(1.0, 0)
    whole = frame(DATA, 0, 1, answer(0))
    line.say(whole[:5])
    assert line.ended == []
    line.say(whole[5:])
    assert line.ended == [(0, 1.0)]


def test_a_reset_and_a_grpc_error_are_broken_calls(line: Line) -> None:
    assert line.ours.ask(1.0, 0)
    assert line.ours.ask(2.0, 0)
    line.say(frame(RESET, 0, 1, b"\0\0\0\x08"), frame(HEADERS, 5, 3, b""))
    assert line.ended == [(BROKEN, 1.0), (BROKEN, 2.0)]


def test_settings_and_pings_are_answered(line: Line) -> None:
    line.hear()
    line.say(frame(SETTINGS, 0, 0, b""), frame(PING, 0, 0, b"12345678"), frame(GOAWAY, 0, 0, b"\0" * 8))
    assert line.hear() == frame(SETTINGS, 1, 0, b"") + frame(PING, 1, 0, b"12345678")


def test_there_is_no_room_beyond_the_window_until_it_grows(line: Line) -> None:
    calls = 0
    while line.ours.ask(1.0, 0):
        calls += 1
    assert calls == 1000  # so many streams at a time
    line.say(*(frame(DATA, 0, stream, answer(0)) + frame(HEADERS, 5, stream, b"") for stream in (1, 3)))
    assert line.ours.ask(1.0, 0)
    line.ours._window = 0
    assert not line.ours.ask(1.0, 0)
    line.say(frame(WINDOW, 0, 0, (100).to_bytes(4, "big")))
    assert line.ours.ask(1.0, 0)


def test_who_hangs_up_leaves_broken_calls(line: Line) -> None:
    assert line.ours.ask(1.0, 0)
    line.theirs.close()
    line.ours.read()
    assert line.ours.closed
    assert not line.ours.ask(2.0, 0)
    line.ours.flush()
    line.ours.close()
    assert line.ended == [(BROKEN, 1.0)]


def test_with_nothing_to_read_nothing_happens(line: Line) -> None:
    line.ours.read()
    assert not line.ours.closed


def test_a_run_connects_anew_where_the_server_hung_up() -> None:
    directory = short_directory()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        listener.listen()
        run = Run([directory / "s"], [PAYLOAD], 10, 1)
        listener.accept()[0].close()
        found = run.go(100.0, 0.1)
        run.close()
        listener.accept()[0].close()
    shutil.rmtree(directory)
    assert found.allowed == 0
    assert found.errors + found.unanswered == found.sent > 0
    assert sum(sample.code == BROKEN for sample in run.samples) == found.sent
