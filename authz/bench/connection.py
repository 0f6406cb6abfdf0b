"""Just so much HTTP/2 as a caller of `Check` needs: a call costs the generator a few microseconds."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from authz.transport.front import METHOD

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BROKEN = -1
"""Stands for the code of an answer where a gRPC error, a reset or a closed connection came instead."""

_WINDOW = 1 << 30
_HEADERS, _DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 1, 0, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_OPEN_MAX = 1000  # streams on one connection: the front allows 1,024 and refuses more with a reset
_FIELDS = (
    (b"\x44", METHOD),
    (b"\x41", "authz"),
    (b"\x5f", "application/grpc"),
    (b"\x40\x02te", "trailers"),
)

Ended = Callable[[int, float], None]
"""Told the code of each answer (of google.rpc, 0: allowed; or BROKEN), and when its call was due."""


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Return one frame. Source: RFC 9113 section 4.1."""
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


class Connection:
    """One connection, as Envoy has one per thread; names every header once and then by its number.

    Args:
        path: of a Unix socket.
        timeout: as `grpc-timeout` has it.
        payloads: prepared calls, gRPC frame and all.
        ended: told of each call once.
    """

    def __init__(self, path: str, timeout: str, payloads: Sequence[bytes], ended: Ended) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(0.0)
        settings = (4).to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")
        self.out = bytearray(PREFACE + frame(_SETTINGS, 0, 0, settings))
        self.out += frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65535).to_bytes(4, "big"))
        self.open: dict[int, float] = {}  # stream that waits for its answer -> when it was due
        self.closed = False
        self._ended = ended
        self._buffer = b""
        self._window = 65535
        self._next_stream = 1
        self._streams = 0  # that have not ended: an answer comes before the end of its stream
        self._got = 0
        self._first = b"\x83\x86" + b"".join(
            prefix + bytes((len(value),)) + value.encode()
            for prefix, value in (*_FIELDS, (b"\x40\x0cgrpc-timeout", timeout))
        )
        self._payloads = payloads
        self._data = [frame(_DATA, _END_STREAM, 0, payload)[:5] for payload in payloads]

    def ask(self, due_s: float, which: int) -> bool:
        """Queue one call; False where the connection has no room for it."""
        payload = self._payloads[which]
        if self.closed or self._streams >= _OPEN_MAX or self._window < len(payload):
            return False
        stream = self._next_stream
        self._next_stream += 2
        number = stream.to_bytes(4, "big")
        if stream == 1:
            self.out += frame(_HEADERS, _END_HEADERS, stream, self._first)
        else:
            self.out += b"\0\0\7\1\4" + number + b"\x83\x86\xc2\xc1\xc0\xbf\xbe"
        self.out += self._data[which] + number + payload
        self._window -= len(payload)
        self.open[stream] = due_s
        self._streams += 1
        return True

    def flush(self) -> None:
        """Send what can be sent."""
        try:
            while self.out:
                del self.out[: self.socket.send(memoryview(self.out)[: 1 << 18].tobytes())]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True

    def read(self) -> None:
        """Take in what came, and tell of the answers in it."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        buffer, at = self._buffer + data, 0
        end = len(buffer)
        while end - at >= 9:
            size = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if end - at - 9 < size:
                break
            self._frame(buffer, at, size)
            at += 9 + size
        self._buffer = buffer[at:]
        self._got += at
        if self._got > _WINDOW // 4:
            self.out += frame(_WINDOW_UPDATE, 0, 0, self._got.to_bytes(4, "big"))
            self._got = 0

    def close(self) -> None:
        """Hang up: what is open gets no answer any more."""
        self.socket.close()
        for due_s in self.open.values():
            self._ended(BROKEN, due_s)
        self.open.clear()

    def _frame(self, buffer: bytes, at: int, size: int) -> None:
        kind, flags = buffer[at + 3], buffer[at + 4]
        if kind == _DATA and size > 8:  # 5 of gRPC, then the status: empty, or a code
            due_s = self.open.pop(int.from_bytes(buffer[at + 5 : at + 9], "big"), None)
            if due_s is not None:
                self._ended(buffer[at + 17] if buffer[at + 15] else 0, due_s)
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            self._streams -= 1
            due_s = self.open.pop(int.from_bytes(buffer[at + 5 : at + 9], "big"), None)
            if due_s is not None:
                self._ended(BROKEN, due_s)
        elif kind == _WINDOW_UPDATE and buffer[at + 5 : at + 9] == b"\0\0\0\0":
            self._window += int.from_bytes(buffer[at + 9 : at + 13], "big")
        elif kind == _SETTINGS and not flags & _ACK:
            self.out += frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self.out += frame(_PING, _ACK, 0, buffer[at + 9 : at + 17])
