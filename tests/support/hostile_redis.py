"""A server that stands between a sidecar and a real Redis, and is only sometimes what it seems.

Left alone it passes everything on. Told to play, it plays on every connection that there is and on every new
one, until it is told to be well again.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import hiredis

LOOPBACK = "127.0.0.1"
_MORE = object()
_READ_BYTES = 65_536


class Line:
    """One connection of a client, and one of its own to the real Redis."""

    def __init__(self, client: socket.socket, behind: Path, ended: Event) -> None:
        self.client = client
        self.ended = ended
        self._commands = hiredis.Reader(notEnoughData=_MORE)
        self._behind = behind
        self._real: socket.socket | None = None

    def take(self) -> list[bytes] | None:
        """Return the next command; None where the client is gone."""
        while (command := self._commands.gets()) is _MORE:
            data = self.client.recv(_READ_BYTES)
            if not data:
                return None
            self._commands.feed(data)
        return [*command] if isinstance(command, list) else [b"?"]

    def send(self, data: bytes) -> None:
        """Send to the client; raises OSError where it is gone."""
        self.client.sendall(data)

    def real(self, command: list[bytes]) -> bytes:
        """Return what Redis answers, as it stands on the wire."""
        if self._real is None:
            self._real = socket.socket(socket.AF_UNIX)
            self._real.connect(str(self._behind))
        self._real.sendall(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # of any length
        reader, answer = hiredis.Reader(notEnoughData=_MORE), b""
        while reader.gets() is _MORE:
            data = self._real.recv(_READ_BYTES)
            answer += data
            reader.feed(data)
        return answer

    def hold(self) -> None:
        """Say nothing for as long as the client is there and the play goes on."""
        self.client.settimeout(0.05)
        while not self.ended.is_set():
            with suppress(TimeoutError):
                if not self.client.recv(_READ_BYTES):
                    return

    def close(self) -> None:
        """Hang up on both sides."""
        self.client.close()
        if self._real is not None:
            self._real.close()


Answer = Callable[[Line, list[bytes]], None]


@dataclass(frozen=True)
class Play:
    """What it plays.

    Args:
        answer: answers one command; a connection is closed where it raises OSError.
        greet: is called for each new connection before anything else.
    """

    answer: Answer
    greet: Callable[[Line], None] | None = None


def passes_on(line: Line, command: list[bytes]) -> None:
    """Be a Redis."""
    line.send(line.real(command))


WELL = Play(passes_on)


class HostileRedis:
    """Listens on the loopback until closed.

    Args:
        well: what it plays when it is left alone.
    """

    def __init__(self, behind: Path, well: Play = WELL) -> None:
        self._behind, self._well = behind, well
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._play, self._ended = well, Event()
        self._closing = False
        self.connections = 0
        Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """How REDIS_URL names it."""
        return f"redis://{LOOPBACK}:{self.port}"

    @contextmanager
    def playing(self, play: Play) -> Iterator[None]:
        """Play, and be well again; whoever holds a connection in a play lets go of it then."""
        self._play, self._ended = play, Event()
        try:
            yield
        finally:
            self._play = self._well
            self._ended.set()

    def close(self) -> None:
        """Listen no more."""
        self._closing = True
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            with suppress(OSError):
                client, _ = self._listener.accept()
                self.connections += 1
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        line = Line(client, self._behind, self._ended)
        with suppress(OSError, hiredis.HiredisError, ssl.SSLError):
            if self._play.greet is not None:
                self._play.greet(line)
            while (command := line.take()) is not None:
                line.ended = self._ended
                self._play.answer(line, command)
        line.close()


@contextmanager
def hostile_redis(behind: Path, well: Play = WELL) -> Iterator[HostileRedis]:
    """Listen before the Redis on this Unix socket; left alone it plays `well`."""
    server = HostileRedis(behind, well)
    try:
        yield server
    finally:
        server.close()
