"""One connection read within bounds: what an API server sends, and what it never would."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.admission.wire import BODY_MAX_BYTES, HEAD_MAX_BYTES, IDLE_S, QUESTION_S, Misread, Question, Wire


class _Line:
    """A connection that says these chunks, each a while after the one before, and then nothing."""

    def __init__(self, *chunks: bytes, pause_s: float = 0.0, ends: bool = True) -> None:
        self._chunks = list(chunks)
        self._pause_s = pause_s
        self._ends = ends
        self._timeout_s = 0.0
        self.now_s = 100.0
        self.sent = b""

    def settimeout(self, seconds: float, /) -> None:
        self._timeout_s = seconds

    def recv(self, size: int, /) -> bytes:
        wait_s = self._pause_s if self._chunks else 0.0
        if wait_s > self._timeout_s or (not self._chunks and not self._ends):
            self.now_s += self._timeout_s
            raise TimeoutError
        self.now_s += wait_s
        if not self._chunks:
            return b""
        chunk, self._chunks[0] = self._chunks[0][:size], self._chunks[0][size:]
        if not self._chunks[0]:
            del self._chunks[0]
        return chunk

    def sendall(self, data: bytes, /) -> None:
        self.sent += data


class _Memory:
    """Bytes that bodies may take."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.left = most

    def admit(self, size: int) -> bool:
        if size > self.left:
            return False
        self.left -= size
        return True

    def release(self, size: int) -> None:
        self.left += size


def _wire(line: _Line, memory: _Memory | None = None) -> Wire:
    memory = memory or _Memory()
    return Wire(line, memory.admit, memory.release, lambda: line.now_s)


def _head(*lines: str, first: str = "POST /inject?timeout=5s HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: hook.shop.svc", *lines, "", "")).encode()


ASKED = _head("Content-Length: 4", "Content-Type: application/json") + b"body"


def test_a_question_is_read() -> None:
    assert _wire(_Line(ASKED)).ask() == Question("POST", "/inject", b"body", last=False)


def test_a_question_in_single_bytes_is_the_same() -> None:
    line = _Line(*(bytes([each]) for each in ASKED))
    assert _wire(line).ask() == Question("POST", "/inject", b"body", last=False)


def test_questions_follow_each_other_on_one_connection() -> None:
    wire = _wire(_Line(ASKED + ASKED))
    assert isinstance(wire.ask(), Question)
    wire.reply(HTTPStatus.OK, b"{}", last=False)
    assert isinstance(wire.ask(), Question)
    assert wire.ask() is None


@pytest.mark.parametrize(
    "head", [_head("Connection: close"), _head(first="POST /inject HTTP/1.0"), _head("connection:Close, x")]
)
def test_who_wants_to_hang_up_is_heard(head: bytes) -> None:
    assert _wire(_Line(head)).ask() == Question("POST", "/inject", b"", last=True)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        _head(first="post /inject HTTP/1.1"),
        _head(first="POST inject HTTP/1.1"),
        _head(first="POST /inject HTTP/2.0"),
        _head(first="POST /in ject HTTP/1.1"),
        _head(first="POST /\x00 HTTP/1.1"),
        _head("no colon"),
        _head("bad name : x"),
        _head(" folded: x"),
        _head("Transfer-Encoding: chunked"),
        _head("Content-Length: 4", "Content-Length: 4"),
        _head("Content-Length: 4", "content-length: 5"),
        _head("Content-Length: -1"),
        _head("Content-Length: +4"),
        _head("Content-Length: 4, 4"),
        _head("Content-Length: 0x4"),
        _head("Content-Length: 99999999999999"),
        _head("A: b\nContent-Length: 4"),
    ],
)
def test_what_is_no_request_for_us_is_refused(head: bytes) -> None:
    assert _wire(_Line(head)).ask() == Misread(HTTPStatus.BAD_REQUEST)


def test_a_head_without_end_is_refused() -> None:
    asked = _wire(_Line(_head(first="POST /inject HTTP/1.1")[:-2] + b"a" * (HEAD_MAX_BYTES + 1))).ask()
    assert asked == Misread(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def test_a_body_larger_than_any_object_is_refused_unread() -> None:
    head = _head(f"Content-Length: {BODY_MAX_BYTES + 1}")
    assert _wire(_Line(head)).ask() == Misread(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def test_a_body_for_which_there_is_no_memory_is_refused_and_memory_comes_back() -> None:
    memory = _Memory(6)
    first, second = _wire(_Line(ASKED), memory), _wire(_Line(ASKED), memory)
    assert isinstance(first.ask(), Question)
    assert second.ask() == Misread(HTTPStatus.SERVICE_UNAVAILABLE)
    first.reply(HTTPStatus.OK, b"{}", last=True)
    first.forget()
    assert memory.left == 6


def test_nobody_is_waited_for_without_end() -> None:
    line = _Line(ends=False)
    assert _wire(line).ask() is None
    assert line.now_s == 100.0 + IDLE_S


@pytest.mark.parametrize("begun", [[b"P"] * 500, [_head("Content-Length: 400"), *[b"b"] * 500]])
def test_a_byte_now_and_then_extends_nothing(begun: Sequence[bytes]) -> None:
    line = _Line(*begun, pause_s=1.0)
    assert _wire(line).ask() is None
    assert line.now_s <= 100.0 + 2 * QUESTION_S + 2


@pytest.mark.parametrize("asked", [ASKED[:-1], ASKED[:20], b""])
def test_who_hangs_up_in_between_is_forgotten(asked: bytes) -> None:
    assert _wire(_Line(asked)).ask() is None


@given(st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([ASKED, b"\r\n\r\n", ASKED[:30]])))
def test_any_bytes_are_a_question_a_refusal_or_an_end(chunks: list[bytes]) -> None:
    memory = _Memory()
    before, line = memory.left, _Line(*chunks)
    wire = _wire(line, memory)
    while isinstance(asked := wire.ask(), Question):
        wire.reply(HTTPStatus.OK, asked.body, last=asked.last)
    wire.forget()
    assert asked is None or isinstance(asked, Misread)
    assert memory.left == before


def test_a_reply_says_how_long_it_is_and_whether_another_may_follow() -> None:
    line = _Line()
    wire = _wire(line)
    wire.reply(HTTPStatus.OK, b"{}", last=False)
    assert line.sent == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"connection: keep-alive\r\n\r\n{}"
    )
    wire.reply(HTTPStatus.BAD_REQUEST, b"", last=True)
    assert line.sent.endswith(b"content-length: 0\r\nconnection: close\r\n\r\n")
