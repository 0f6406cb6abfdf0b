"""One connection to one server, of which every exchange ends by a deadline.

A socket's own timeout is one per read: a server that sends a byte now and then would hold us for ever. Here
all of an exchange (name, connection, handshake, question, answer) has one deadline, and an answer a bound.
"""

from __future__ import annotations

import errno
import io
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

Clock = Callable[[], float]

# Head and body of an answer: collectors say little. More is not read.
ANSWER_MAX_BYTES = 128 * 1024

_READ_BYTES = 65_536
_SEND_BYTES = 256 * 1024  # between two looks for an answer that comes early
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class AnswerTooLong(OSError):
    """A server says more than anybody reads."""


class Wire:
    """A connection, used by one thread.

    Args:
        sock: connected; with TLS, whose handshake is still to be done.
        clock: monotonic seconds.
    """

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._clock = clock
        self._deadline_s = 0.0
        self._early = b""  # what came before all was sent
        self.heard = 0  # bytes of the answer to the last question
        self.cut_short = False  # it was answered before all of it was sent
        self.hung_up = False

    def begin(self, deadline_s: float) -> None:
        """Begin an exchange."""
        self._deadline_s = deadline_s
        self._early, self.heard = b"", 0
        self.cut_short = self.hung_up = False

    def secure(self) -> None:
        """Do the handshake; raises OSError."""
        sock = self._sock
        done = not isinstance(sock, ssl.SSLSocket)
        while isinstance(sock, ssl.SSLSocket) and not done:
            try:
                sock.do_handshake()
                done = True
            except _NOT_YET as error:
                self._wait(error)

    def is_quiet(self) -> bool:
        """Whether nothing came that nobody asked for, the server's good-bye included.

        SECURITY: asked before each question. An answer that came unasked would be taken for that to the next.
        """
        if not _ready(self._sock, select.POLLIN, 0.0):
            return True
        try:
            self._sock.recv(1)
        except _NOT_YET:
            return True  # TLS spoke to itself: a ticket, a new key
        except OSError:
            return False
        return False

    def send(self, data: bytes) -> None:
        """Send all of it, or as much as the server lets us before it answers; raises OSError."""
        view = memoryview(data)
        while view and not self._early:
            try:
                view = view[self._sock.send(view[:_SEND_BYTES]) :]
            except _NOT_YET as error:
                self._wait(error, select.POLLOUT)
                self._listen()
            except (BrokenPipeError, ConnectionResetError):
                # Whoever refuses a large question often says so and hangs up. What it said is still there.
                self._listen()
                if not self._early:
                    raise
        self.cut_short = bool(view)

    def _listen(self) -> None:
        """Take what a server says before it has heard us out."""
        with suppress(*_NOT_YET):
            self._early = self._sock.recv(_READ_BYTES)
            if not self._early:
                raise ConnectionResetError("hung up")

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the answer to be read; what http.client asks of a socket."""
        return io.BufferedReader(_Source(self))

    def read_into(self, buffer: memoryview) -> int:
        """Read some of the answer; 0 where the server hung up. Raises OSError."""
        self.heard += (count := self._read_into(buffer))
        self.hung_up = not count
        if self.heard > ANSWER_MAX_BYTES:
            raise AnswerTooLong("answers without end")
        return count

    def _read_into(self, buffer: memoryview) -> int:
        if self._early:
            count = min(len(buffer), len(self._early))
            buffer[:count] = self._early[:count]
            self._early = self._early[count:]
            return count
        while True:
            if self._clock() >= self._deadline_s:
                raise TimeoutError  # however much there is to read
            try:
                return self._sock.recv_into(buffer)
            except _NOT_YET as error:
                self._wait(error)

    def _wait(self, error: OSError, wanted: int = 0) -> None:
        """Wait until there is something to read or, where asked for, room to send."""
        if isinstance(error, ssl.SSLWantWriteError):
            wanted = select.POLLOUT
        elif isinstance(error, ssl.SSLWantReadError):
            wanted = 0
        if not _ready(self._sock, wanted | select.POLLIN, self._deadline_s - self._clock()):
            raise TimeoutError

    def close(self) -> None:
        """Let go of it."""
        self._sock.close()


class _Source(io.RawIOBase):
    """What one answer is read from."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer comes as one
        return self._wire.read_into(memoryview(buffer))


def connect(host: str, port: int, context: ssl.SSLContext | None, clock: Clock, deadline_s: float) -> Wire:
    """Connect to the first address of a name that lets us in; each has its share of the time.

    The system's look-up of the name keeps its own time: nothing can hurry it.

    Raises:
        OSError: none does.
    """
    failed: OSError = OSError(errno.EADDRNOTAVAIL, "its name has no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        share_s = (deadline_s - clock()) / left
        if share_s <= 0:
            raise TimeoutError
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(share_s)
            sock.connect(address)
            return _begun(sock, host, context, clock, deadline_s)
        except OSError as error:
            failed = error
            sock.close()
    raise failed


def _begun(
    sock: socket.socket, host: str, context: ssl.SSLContext | None, clock: Clock, deadline_s: float
) -> Wire:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    wire = Wire(sock, clock)
    wire.begin(deadline_s)
    try:
        wire.secure()
    except OSError:
        wire.close()
        raise
    return wire


def _ready(sock: socket.socket, events: int, timeout_s: float) -> bool:
    if isinstance(sock, ssl.SSLSocket) and events & select.POLLIN and sock.pending():
        return True
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(max(0.0, timeout_s * 1000)))
