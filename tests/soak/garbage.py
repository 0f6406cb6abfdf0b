"""What nobody should send to the socket of checks, at full speed.

`python -m tests.soak.garbage SOCKET... --seconds S`

Each kind is tried again and again on connections of its own. One JSON object on standard output: how many of
each, how many well-framed calls got no answer, and how many were allowed, which none may be.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from authz.bench.connection import PREFACE, frame
from authz.bench.openloop import Run
from authz.transport.front import METHOD

_HEADERS, _DATA, _RESET, _SETTINGS, _CONTINUATION = 1, 0, 3, 4, 9
_BLOCK = (
    b"\x83\x86\x44"
    + bytes((len(METHOD),))
    + METHOD.encode()
    + b"\x41\x05authz\x5f\x10application/grpc\x40\x02te\x08trailers"
)
_BOMB_BYTES = 8 * 1024 * 1024
_SLOW_MAX = 32  # unfinished calls that are left standing at a time
_CALLS = 48  # well-framed ones open at a time
_CALLS_S = 0.25


class Garbage:
    """Sends every kind in turn."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path = str(path)
        self._dice = random.Random(seed)
        self._slow: list[socket.socket] = []
        self._bomb = gzip.compress(b"\0" * _BOMB_BYTES)
        self.counts: Counter[str] = Counter()
        self._kinds: tuple[Callable[[], None], ...] = (
            self.noise,
            self.frames,
            self.truncated,
            self.resets,
            self.long_headers,
            self.slow,
            self.bomb,
            self.calls,
        )

    def one_of_each(self) -> None:
        """Try every kind once; a server that hangs up is a good answer."""
        for kind in self._kinds:
            self.counts[kind.__name__] += 1
            with suppress(OSError):
                kind()

    def close(self) -> None:
        """Hang up what was left standing."""
        for each in self._slow:
            each.close()
        self._slow.clear()

    def noise(self) -> None:
        """Bytes of any kind, after the preface or instead of it."""
        start = self._dice.choice([b"", PREFACE])
        self._send(start + self._dice.randbytes(self._dice.randrange(1, 65536)))

    def frames(self) -> None:
        """Frames of random kind, flags and stream, with random bytes in them."""
        whole = bytearray(PREFACE + frame(_SETTINGS, 0, 0, b""))
        for _ in range(self._dice.randrange(1, 64)):
            kind, flags = self._dice.randrange(12), self._dice.randrange(256)
            body = self._dice.randbytes(self._dice.randrange(256))
            whole += frame(kind, flags, self._dice.randrange(64), body)
        self._send(bytes(whole))

    def truncated(self) -> None:
        """A message that is announced and never comes whole."""
        message = b"\0" + (100_000).to_bytes(4, "big") + self._dice.randbytes(8192)
        self._send(self._opened(1) + frame(_DATA, 0, 1, message))

    def resets(self) -> None:
        """Calls that are taken back as soon as they were made."""
        calls = [
            frame(_HEADERS, 4, stream, _BLOCK) + frame(_RESET, 0, stream, b"\0\0\0\x08")
            for stream in range(1, 401, 2)
        ]
        self._send(PREFACE + frame(_SETTINGS, 0, 0, b"") + b"".join(calls))

    def long_headers(self) -> None:
        """Far more headers than any call has, in one block that goes on and on."""
        block = b"\x00\x05x-big\x7f\x7e" + b"a" * 253
        whole = PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_HEADERS, 0, 1, _BLOCK + block)
        self._send(whole + frame(_CONTINUATION, 0, 1, block * 60) * 32)

    def slow(self) -> None:
        """Calls whose message trickles, left standing for a while."""
        kept = socket.socket(socket.AF_UNIX)
        self._slow.append(kept)
        kept.settimeout(1.0)
        kept.connect(self._path)
        kept.sendall(self._opened(1) + frame(_DATA, 0, 1, b"\0\0\0\x10\0" + b"x"))
        for old in self._slow[:-_SLOW_MAX]:
            old.close()
        del self._slow[:-_SLOW_MAX]
        for each in self._slow:
            with suppress(OSError):
                each.send(frame(_DATA, 0, 1, b"x"))

    def bomb(self) -> None:
        """A small message that unpacks to much."""
        header = b"\x40\x0dgrpc-encoding\x04gzip"
        opened = PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_HEADERS, 4, 1, _BLOCK + header)
        self._send(opened + frame(_DATA, 1, 1, b"\1" + len(self._bomb).to_bytes(4, "big") + self._bomb))

    def calls(self) -> None:
        """Well-framed calls whose message is no CheckRequest: each must be refused in so many words."""
        payloads = [self._message() for _ in range(16)]
        run = Run(
            [Path(self._path)], [b"\0" + len(one).to_bytes(4, "big") + one for one in payloads], 5000, 2
        )
        found = run.go(0.0, _CALLS_S, closed=_CALLS)
        run.close()
        self.counts["called"] += found.sent
        self.counts["allowed"] += found.allowed
        self.counts["unanswered"] += found.errors + found.unanswered

    def _message(self) -> bytes:
        size = self._dice.choice([0, 1, 16, 300, 3000, 16_000])
        return self._dice.randbytes(size)

    def _opened(self, stream: int) -> bytes:
        return PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_HEADERS, 4, stream, _BLOCK)

    def _send(self, data: bytes) -> None:
        """Send on a connection of its own, look whether there is an answer, and hang up."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(self._path)
            connection.sendall(data)
            connection.settimeout(0.002)
            with suppress(OSError):
                connection.recv(65536)


def main() -> None:
    """Send until the time is over, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sockets", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    senders = [Garbage(path, chosen.seed + at) for at, path in enumerate(chosen.sockets)]
    end_s = time.monotonic() + chosen.seconds
    while time.monotonic() < end_s:
        for sender in senders:
            sender.one_of_each()
    json.dump(sum((sender.counts for sender in senders), Counter()), sys.stdout)


if __name__ == "__main__":
    main()
