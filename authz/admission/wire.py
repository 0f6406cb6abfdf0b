"""One connection of the API server's: questions read within bounds, replies written whole.

Only what an API server sends is understood: POST with a length, one after another. The rest is refused with a
status and the connection closed; nothing that arrives here can become an exception of ours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Protocol

HEAD_MAX_BYTES = 16 * 1024  # an API server's head has 300 bytes
BODY_MAX_BYTES = 4 * 1024 * 1024  # an API server takes objects of 3 MiB, and hands on one
QUESTION_S = 5.0  # for a head, for a body, for a reply: whole, a byte now and then extends nothing
IDLE_S = 120.0  # between questions; Go's client gives up an idle connection after 90 s

_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,512}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_CHUNK_BYTES = 64 * 1024


class Stream(Protocol):
    """What a socket can do, secured or not."""

    def recv(self, size: int, /) -> bytes:
        """Return what is there, b"" at the end."""
        ...

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""
        ...

    def settimeout(self, seconds: float, /) -> None:
        """Bound what follows."""
        ...


class Question(NamedTuple):
    """One request."""

    method: str
    path: str  # without the query
    body: bytes
    last: bool  # whoever asks wants the connection closed afterwards


class Misread(NamedTuple):
    """What came is no request for us: the status that says so."""

    status: HTTPStatus


class _Head(NamedTuple):
    method: str
    path: str
    length: int
    last: bool


class Wire:
    """Reads and writes one connection.

    Args:
        stream: the connection.
        admit: takes a number of bytes that a body needs; False: no memory for it just now.
        release: gives them back.
        monotonic_s: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        stream: Stream,
        admit: Callable[[int], bool],
        release: Callable[[int], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._admit = admit
        self._release = release
        self._monotonic_s = monotonic_s
        self._rest = b""
        self._held = 0

    def ask(self) -> Question | Misread | None:
        """Read the next request; None: nobody asks any more, or not in time.

        Raises:
            OSError: the connection broke.
        """
        found = self._head()
        if not isinstance(found, _Head):
            return found
        if found.length > BODY_MAX_BYTES:
            return Misread(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not self._admit(found.length):
            return Misread(HTTPStatus.SERVICE_UNAVAILABLE)
        self._held = found.length
        body = self._body(found.length)
        if body is None:
            return None
        return Question(found.method, found.path, body, found.last)

    def reply(self, status: HTTPStatus, body: bytes, *, last: bool) -> None:
        """Write one reply; what the question held is given back.

        Raises:
            OSError: the connection broke.
        """
        head = (
            f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: {'close' if last else 'keep-alive'}\r\n\r\n"
        )
        self._stream.settimeout(QUESTION_S)
        self._stream.sendall(head.encode() + body)
        self.forget()

    def forget(self) -> None:
        """Give back what the question held. Safe to call again."""
        self._release(self._held)
        self._held = 0

    def _head(self) -> _Head | Misread | None:
        deadline_s = self._monotonic_s() + (QUESTION_S if self._rest else IDLE_S)
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > HEAD_MAX_BYTES:
                return Misread(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            chunk = self._receive(deadline_s)
            if not chunk:
                return None
            if not data:  # it has begun: now it has to go on
                deadline_s = self._monotonic_s() + QUESTION_S
            data += chunk
        self._rest = data[end + 4 :]
        return _read(data[:end])

    def _body(self, length: int) -> bytes | None:
        deadline_s = self._monotonic_s() + QUESTION_S
        body = bytearray(self._rest[:length])
        self._rest = self._rest[length:]
        while len(body) < length:
            chunk = self._receive(deadline_s, length - len(body))
            if not chunk:
                return None
            body += chunk
        return bytes(body)

    def _receive(self, deadline_s: float, size: int = _CHUNK_BYTES) -> bytes:
        left_s = deadline_s - self._monotonic_s()
        if left_s <= 0:
            return b""
        self._stream.settimeout(left_s)
        try:
            return self._stream.recv(min(size, _CHUNK_BYTES))
        except TimeoutError:
            return b""


def _read(head: bytes) -> _Head | Misread:
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    headers = [_HEADER.fullmatch(each) for each in lines]
    if line is None or not all(headers):
        return Misread(HTTPStatus.BAD_REQUEST)
    pairs = [(each[1].lower(), each[2]) for each in headers if each is not None]
    named = dict(pairs)
    if b"transfer-encoding" in named or [name for name, _ in pairs].count(b"content-length") > 1:
        return Misread(HTTPStatus.BAD_REQUEST)  # SECURITY: where a body ends is never guessed
    length = named.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(length):
        return Misread(HTTPStatus.BAD_REQUEST)
    last = line[3] == b"0" or b"close" in named.get(b"connection", b"").lower()
    return _Head(line[1].decode(), line[2].decode().partition("?")[0], int(length), last)
