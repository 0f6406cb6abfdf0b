"""A collector of records over HTTP that does as it is told: takes, refuses, waits, lies, hangs up.

    with collector() as it:
        sink = HttpSink(parse_sink(it.url), Access(), "http")
        it.play(answering(503, "retry-after: 7"))       # on every question from now on
        it.play(ACCEPT)
        it.lines()                                      # that were taken: answered with a yes
        it.posted                                       # every question that was heard out, in order
        it.connections                                  # that were made so far

A play is a function of one question, `Line`: it may `take()` the body, `send()` bytes, `hold()` until the
play is over, or raise OSError to hang up.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Event, Thread
from typing import NamedTuple

LOOPBACK = "127.0.0.1"

_READ_BYTES = 65_536
_WAIT_S = 10.0
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Posted(NamedTuple):
    """One question, heard out."""

    path: str
    headers: dict[str, str]  # names in lower case
    lines: bytes  # unpacked
    connection: int  # on which it came: 1, 2, ...


class Line:
    """One connection, and the question on it."""

    def __init__(self, owner: Collector, client: socket.socket, number: int) -> None:
        self.owner, self.number = owner, number
        self.over = Event()  # set when what is played is no longer to be played
        self.path = ""
        self.headers: dict[str, str] = {}
        self._client = client
        self._data = b""
        self._taken: Posted | None = None

    def begin(self) -> bool:
        """Read the head of the next question; False where there is none."""
        self._taken = None
        while b"\r\n\r\n" not in self._data:
            if not self._read():
                return False
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        _, self.path, *_ = [*first.split(" "), "", ""]  # whoever speaks no HTTP has none
        pairs = [one.partition(": ") for one in rest]
        self.headers = {name.lower(): value for name, _, value in pairs}
        return True

    def take(self) -> Posted:
        """Read all of the question."""
        if self._taken is None:
            size = int(self.headers["content-length"])
            while len(self._data) < size:
                if not self._read():
                    raise ConnectionResetError("gave up in the middle")
            body, self._data = self._data[:size], self._data[size:]
            lines = gzip.decompress(body)
            self._taken = Posted(self.path, self.headers, lines, self.number)
            self.owner.heard(self._taken)
        return self._taken

    def _read(self) -> bool:
        data = self._client.recv(_READ_BYTES)
        self._data += data
        return bool(data)

    def send(self, data: bytes) -> None:
        """Send to the client; raises OSError where it is gone."""
        self._client.sendall(data)

    def hold(self) -> None:
        """Say nothing until the play is over; then hang up."""
        self.over.wait(60)
        raise OSError


Play = Callable[[Line], None]


def ACCEPT(line: Line) -> None:  # noqa: N802 - it reads as the constant that it is
    """Take it, and say so."""
    line.owner.accept(line.take())
    line.send(_NO_CONTENT)


def answering(status: int, *headers: str, body: bytes = b"") -> Play:
    """Hear it out, and answer with this status; with 2xx it is taken."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def play(line: Line) -> None:
        posted = line.take()
        if 200 <= status < 300:
            line.owner.accept(posted)
        line.send(answer)

    return play


def saying(data: bytes, *, hangs_up: bool = False) -> Play:
    """Hear it out, and say this whatever was asked; then hang up, or wait for the next."""

    def play(line: Line) -> None:
        line.take()
        line.send(data)
        if hangs_up:
            raise OSError

    return play


def endless(head: bytes, chunk: bytes) -> Play:
    """Say this, and then that without end."""

    def play(line: Line) -> None:
        line.take()
        line.send(head)
        while not line.over.is_set():
            line.send(chunk)

    return play


def dripping(data: bytes, pause_s: float = 0.05) -> Play:
    """Say this byte by byte, with a pause after each."""

    def play(line: Line) -> None:
        line.take()
        for byte in data:
            if line.over.is_set():
                break
            line.send(bytes([byte]))
            time.sleep(pause_s)
        line.hold()

    return play


def stalling(line: Line) -> None:
    """Hear it out, and say nothing."""
    line.take()
    line.hold()


def deaf(line: Line) -> None:
    """Read nothing of what it is sent, and say nothing."""
    line.hold()


def hanging_up(line: Line) -> None:
    """Hang up without a word."""
    line.take()
    raise OSError


def accepting_up_to(lines_bytes: int) -> Play:
    """Take a question of at most so much, unpacked; answer 413 to a larger one."""

    def play(line: Line) -> None:
        posted = line.take()
        if len(posted.lines) > lines_bytes:
            line.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        else:
            line.owner.accept(posted)
            line.send(_NO_CONTENT)

    return play


class Collector:
    """A server on a free port of loopback; see above."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.posted: list[Posted] = []
        self._accepted: list[Posted] = []
        self._playing: tuple[Play, Event] = (ACCEPT, Event())  # both are changed at once
        self._changed = Condition()
        self._clients: set[socket.socket] = set()
        self._closing = False
        Thread(target=self._accept_all, daemon=True).start()

    @property
    def url(self) -> str:
        """As `record_sink` names it."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.port}/records"

    def play(self, play: Play) -> None:
        """Play so from now on; what is held by the play before is let go of."""
        before, self._playing = self._playing, (play, Event())
        before[1].set()

    def clear(self) -> None:
        """Forget what came, and accept again."""
        self.play(ACCEPT)
        with self._changed:
            self.posted.clear()
            self._accepted.clear()

    def heard(self, posted: Posted) -> None:
        """Keep a question."""
        with self._changed:
            self.posted.append(posted)
            self._changed.notify_all()

    def accept(self, posted: Posted) -> None:
        """Keep it as one that was taken."""
        with self._changed:
            self._accepted.append(posted)
            self._changed.notify_all()

    def taken(self) -> list[Posted]:
        """Return each question that was taken, in order."""
        with self._changed:
            return [*self._accepted]

    def lines(self) -> list[bytes]:
        """Return each line that was taken, in order, copies included."""
        with self._changed:
            return b"".join(posted.lines for posted in self._accepted).splitlines()

    def wait_for(self, lines: int) -> list[bytes]:
        """Wait until so many lines were taken; fails after ten seconds."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.lines()) >= lines, _WAIT_S)
        found = self.lines()
        assert arrived, f"{len(found)} lines of {lines}"
        return found

    def close(self) -> None:
        """Listen no more."""
        self._closing = True
        self._playing[1].set()
        _shut(self._listener)
        self._listener.close()
        for client in [*self._clients]:
            _shut(client)

    def _accept_all(self) -> None:
        while not self._closing:
            with suppress(OSError):
                client, _ = self._listener.accept()
                self.connections += 1
                Thread(target=self._serve, args=(client, self.connections), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._clients.add(client)
            line = Line(self, client, number)
            while line.begin():
                play, line.over = self._playing
                play(line)
        except OSError:
            pass  # either side hung up
        finally:
            self._clients.discard(client)
            _shut(client)
            client.close()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def server_context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return what makes a collector one over TLS.

    Args:
        client_ca: whose certificates callers must show; None: they show none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


@contextmanager
def collector(tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """Serve until the end of the block."""
    it = Collector(tls)
    try:
        yield it
    finally:
        it.close()
