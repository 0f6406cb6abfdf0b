"""Calls of `Check` at a rate of our own choosing, whether or not they are answered: `python -m
tests.support.openloop SOCKET FRAME... --rate N --seconds S`.

A generator that waits for answers before it asks again slows down with the server and never overloads it;
callers of a proxy do not wait for each other. It speaks just so much HTTP/2 that a call costs it a few
microseconds, counts each answer by what it says and times it from when it was due, not from when it was sent.
One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from authz.transport.front import METHOD

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = 1 << 30
_HEADERS, _DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 1, 0, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_OPEN_MAX = 1000  # streams on one connection: the front allows 1,024 and refuses more with a reset
_TICK_S = 0.0005
_UNAVAILABLE = 14  # of google.rpc, what goes with 503
_FIELDS = (
    (b"\x44", METHOD),
    (b"\x41", "authz"),
    (b"\x5f", "application/grpc"),
    (b"\x40\x02te", "trailers"),
)


class Outcome(NamedTuple):
    """What a run saw. Rates are per second of its length."""

    sent: int
    turned_away: int  # not sent: as many as may be were open, as Envoy's circuit breaker has it
    seconds: float
    allowed: int
    late: int  # allowed after the deadline
    unavailable: int  # an explicit 503
    refused: int  # any other refusal
    errors: int  # gRPC errors and resets
    unanswered: int
    p50_ms: float  # of allowed calls, from when each was due
    p99_ms: float
    behind_ms: float  # how late the generator itself was, at worst
    cpu_share: float  # of one core, that it took itself


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


class _Connection:
    """One connection, as Envoy has one per thread; names every header once and then by its number."""

    def __init__(self, path: str, timeout: str, payloads: Sequence[bytes]) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.setblocking(False)
        settings = (4).to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")
        self.out = bytearray(PREFACE + frame(_SETTINGS, 0, 0, settings))
        self.out += frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65535).to_bytes(4, "big"))
        self.buffer = b""
        self.window = 65535
        self.next_stream = 1
        self.open: dict[int, float] = {}  # stream that waits for its answer -> when it was due
        self.streams = 0  # that have not ended: an answer comes before the end of its stream
        self.got = 0
        self.closed = False
        self._first = b"\x83\x86" + b"".join(
            prefix + bytes((len(value),)) + value.encode()
            for prefix, value in (*_FIELDS, (b"\x40\x0cgrpc-timeout", timeout))
        )
        self._payloads = payloads
        self._data = [frame(_DATA, _END_STREAM, 0, payload)[:5] for payload in payloads]

    def ask(self, due_s: float, which: int) -> bool:
        """Queue one call; False where the connection has no room for it."""
        payload = self._payloads[which]
        if self.closed or self.streams >= _OPEN_MAX or self.window < len(payload):
            return False
        stream = self.next_stream
        self.next_stream += 2
        number = stream.to_bytes(4, "big")
        if stream == 1:
            self.out += frame(_HEADERS, _END_HEADERS, stream, self._first)
        else:
            self.out += b"\0\0\7\1\4" + number + b"\x83\x86\xc2\xc1\xc0\xbf\xbe"
        self.out += self._data[which] + number + payload
        self.window -= len(payload)
        self.open[stream] = due_s
        self.streams += 1
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

    def read(self, run: Run, now_s: float) -> None:
        """Take in what came, and count the answers in it."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        buffer, at = self.buffer + data, 0
        end = len(buffer)
        while end - at >= 9:
            size = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if end - at - 9 < size:
                break
            self._frame(buffer, at, size, run, now_s)
            at += 9 + size
        self.buffer = buffer[at:]
        self.got += at
        if self.got > _WINDOW // 4:
            self.out += frame(_WINDOW_UPDATE, 0, 0, self.got.to_bytes(4, "big"))
            self.got = 0

    def _frame(self, buffer: bytes, at: int, size: int, run: Run, now_s: float) -> None:
        kind, flags = buffer[at + 3], buffer[at + 4]
        if kind == _DATA and size > 8:  # 5 of gRPC, then the status: empty, or a code
            due_s = self.open.pop(int.from_bytes(buffer[at + 5 : at + 9], "big"), None)
            if due_s is not None:
                run.answered(buffer[at + 17] if buffer[at + 15] else 0, now_s - due_s)
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            self.streams -= 1
            if self.open.pop(int.from_bytes(buffer[at + 5 : at + 9], "big"), None) is not None:
                run.counts["errors"] += 1
        elif kind == _WINDOW_UPDATE and buffer[at + 5 : at + 9] == b"\0\0\0\0":
            self.window += int.from_bytes(buffer[at + 9 : at + 13], "big")
        elif kind == _SETTINGS and not flags & _ACK:
            self.out += frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self.out += frame(_PING, _ACK, 0, buffer[at + 9 : at + 17])
        elif kind == _GOAWAY:
            run.counts["goaway"] += 1


class Run:
    """One run over some connections."""

    def __init__(self, path: Path, payloads: Sequence[bytes], deadline_ms: int, connections: int) -> None:
        self.counts: Counter[str] = Counter()
        self._deadline_s = deadline_ms / 1000
        self._took: list[float] = []
        self._payloads = payloads
        self._how = (str(path), f"{deadline_ms}m", payloads)
        self._connections = [_Connection(*self._how) for _ in range(connections)]
        self._selector = selectors.DefaultSelector()
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def answered(self, code: int, took_s: float) -> None:
        """Count one answer."""
        if code == 0:
            self.counts["allowed"] += 1
            self._took.append(took_s)
            if took_s > self._deadline_s:
                self.counts["late"] += 1
        else:
            self.counts["unavailable" if code == _UNAVAILABLE else "refused"] += 1

    def go(self, rate: float, seconds: float, closed: int = 0, most: int = 0) -> Outcome:
        """Ask at a rate; or, with `closed`, so that always so many calls are open.

        Args:
            most: no more calls than this are open at once, the others are turned away; 0: any number.
        """
        began_s, cpu_s = time.monotonic(), time.process_time()
        due: deque[float] = deque()
        made = sent = 0
        behind_s = 0.0
        while (now_s := time.monotonic()) < began_s + seconds:
            if closed:
                due.extend([now_s] * (closed - self._open() - len(due)))
            else:
                wanted = int((now_s - began_s) * rate)
                due.extend(began_s + number / rate for number in range(made, wanted))
                made = max(made, wanted)
                if most:
                    self._turn_away(due, most)
            if due:
                behind_s = max(behind_s, now_s - due[0])
                sent += self._send(due, sent)
            self._turn(0.05 if closed else _TICK_S)
        self._wait(2 * self._deadline_s + 0.5)
        spent_s = time.process_time() - cpu_s
        return self._outcome(sent, seconds, behind_s, spent_s / (time.monotonic() - began_s))

    def close(self) -> None:
        """Hang up."""
        self._selector.close()
        for connection in self._connections:
            connection.socket.close()

    def _open(self) -> int:
        return sum(len(connection.open) for connection in self._connections)

    def _turn_away(self, due: deque[float], most: int) -> None:
        for _ in range(len(due) - max(0, most - self._open())):
            due.pop()
            self.counts["turned_away"] += 1

    def _send(self, due: deque[float], sent: int) -> int:
        """Hand what is due to the connections in turn; what has no room stays due."""
        began = sent
        connections, kinds = self._connections, len(self._payloads)
        while due:
            for step in range(len(connections)):
                if connections[(sent + step) % len(connections)].ask(due[0], sent % kinds):
                    break
            else:
                break
            due.popleft()
            sent += 1
        return sent - began

    def _turn(self, wait_s: float) -> None:
        for connection in self._connections:
            if connection.out:
                connection.flush()
        events = self._selector.select(wait_s)
        now_s = time.monotonic()
        for key, _ in events:
            key.data.read(self, now_s)
            if key.data.closed:
                self._again(key.data)

    def _again(self, connection: _Connection) -> None:
        """What was open on a connection that is gone is lost; Envoy would connect anew, so we do."""
        self.counts["errors"] += len(connection.open)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        fresh = _Connection(*self._how)
        self._connections[self._connections.index(connection)] = fresh
        self._selector.register(fresh.socket, selectors.EVENT_READ, fresh)

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while self._open() and time.monotonic() < end_s:
            self._turn(0.05)

    def _outcome(self, sent: int, seconds: float, behind_s: float, cpu_share: float) -> Outcome:
        took, counts = sorted(self._took) or [0.0], self.counts
        return Outcome(
            sent,
            counts["turned_away"],
            seconds,
            counts["allowed"],
            counts["late"],
            counts["unavailable"],
            counts["refused"],
            counts["errors"],
            self._open(),
            took[len(took) // 2] * 1000,
            took[len(took) * 99 // 100] * 1000,
            behind_s * 1000,
            cpu_share,
        )


def main() -> None:
    """Run once and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--closed", type=int, default=0)
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--deadline-ms", type=int, default=200)
    parser.add_argument("--connections", type=int, default=16)
    chosen = parser.parse_args()
    payloads = [frame.read_bytes() for frame in chosen.frames]
    run = Run(chosen.socket, payloads, chosen.deadline_ms, chosen.connections)
    json.dump(run.go(chosen.rate, chosen.seconds, chosen.closed, chosen.most)._asdict(), sys.stdout)


if __name__ == "__main__":
    main()
