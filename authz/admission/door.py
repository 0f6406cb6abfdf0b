"""Where the API server knocks: HTTPS, a thread for each connection, bounded in everything.

Who asks is not known by more than reaching us: any pod of the cluster can, and is told nothing but what would
become of a pod that it showed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from authz.admission.wire import Misread, Question, Wire
from authz.config.log import get_logger
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError

CONNECTIONS_MAX = 256  # an API server sends 200 changes at once; beyond, the longest silent is hung up on
BODIES_MAX_BYTES = 32 * 1024 * 1024  # of all connections at once: an eighth of what the chart gives us
# Always admitted: large ones that are announced and do not come keep out large ones alone. A pod has 10 KiB.
BODY_SMALL_BYTES = 64 * 1024
HANDSHAKE_S = 5.0
_BACKLOG = 128
_POLL_S = 0.2

Answer = Callable[[Question], tuple[HTTPStatus, bytes]]

_log = get_logger("webhook")


class Door:
    """Serves one address from `open` to `close`.

    Args:
        address: where; port 0 means any free one.
        secured: returns the TLS context for a connection that begins.
        answer: answers one question; called on many threads.
    """

    def __init__(self, address: TcpAddress, secured: Callable[[], ssl.SSLContext], answer: Answer) -> None:
        self._address = address
        self._secured = secured
        self._answer = answer
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # connection -> since when it is silent; inf: it is not
        self._bodies = 0
        self._draining = threading.Event()
        self._closed = threading.Event()

    @property
    def address(self) -> TcpAddress:
        """Where it listens: once open, with the real port where 0 was asked."""
        return self._address

    def open(self) -> None:
        """Begin to listen and answer.

        Raises:
            ConfigError: the port cannot be had.
        """
        listener = _listen(self._address)
        self._address = TcpAddress(self._address.host, listener.getsockname()[1])
        listener.settimeout(_POLL_S)
        threading.Thread(target=self._accept, args=(listener,), name="door", daemon=True).start()

    def drain(self) -> None:
        """Ask whoever is connected to go elsewhere: each reply from now on is the last of its connection."""
        self._draining.set()

    def close(self, patience_s: float) -> None:
        """Stop to listen; what is being answered may finish for so long. Safe to call again."""
        self._draining.set()
        self._closed.set()
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s and self._busy():
            time.sleep(0.02)
        with self._lock:
            left = list(self._open)
        for connection in left:
            _hang_up(connection)

    def _busy(self) -> bool:
        with self._lock:
            return any(since_s == float("inf") for since_s in self._open.values())

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._closed.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:  # no descriptor is free, or who knocked is gone
                    self._closed.wait(_POLL_S)
                    continue
                self._make_room()
                with self._lock:
                    self._open[connection] = time.monotonic()
                threading.Thread(target=self._serve, args=(connection,), name="review", daemon=True).start()

    def _make_room(self) -> None:
        """Wait for a place; where all are taken, whoever is silent longest loses its own."""
        while not self._closed.is_set():
            with self._lock:
                if len(self._open) < CONNECTIONS_MAX:
                    return
                silent = min(self._open, key=self._open.__getitem__)
                if self._open[silent] != float("inf"):
                    _hang_up(silent)
            self._closed.wait(0.02)

    def _serve(self, connection: socket.socket) -> None:
        """One connection, in its thread. Whatever goes wrong with it is its own affair."""
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(HANDSHAKE_S)
            with self._secured().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ) as stream:
                self._move(connection, stream)
                try:
                    stream.do_handshake()  # within HANDSHAKE_S as a whole
                    self._converse(stream)
                finally:
                    self._forget(stream)
        except (OSError, ValueError):  # TLS errors are of the first kind; a socket hung up on, of the second
            pass
        except Exception as error:  # noqa: BLE001 - a bug of ours: it is told, and costs one connection
            _log.error("a connection failed", kind=type(error).__name__)
        finally:
            connection.close()
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)

    def _move(self, connection: socket.socket, stream: ssl.SSLSocket) -> None:
        """A secured socket takes over the descriptor of the one below."""
        with self._lock:
            self._open.pop(connection, None)
            self._open[stream] = time.monotonic()

    def _converse(self, stream: ssl.SSLSocket) -> None:
        wire = Wire(stream, self._admit, self._release)
        try:
            while self._exchange(stream, wire):
                self._mark(stream, time.monotonic())
        finally:
            wire.forget()

    def _exchange(self, stream: ssl.SSLSocket, wire: Wire) -> bool:
        """Answer one question; whether another may follow."""
        asked = wire.ask()
        if asked is None:
            return False
        if isinstance(asked, Misread):
            wire.reply(asked.status, b"{}", last=True)
            return False
        self._mark(stream, float("inf"))
        status, body = self._answer(asked)
        last = asked.last or self._draining.is_set()
        wire.reply(status, body, last=last)
        return not last

    def _mark(self, stream: ssl.SSLSocket, since_s: float) -> None:
        with self._lock:
            if stream in self._open:
                self._open[stream] = since_s

    def _admit(self, size: int) -> bool:
        with self._lock:
            if size > BODY_SMALL_BYTES:
                if self._bodies + size > BODIES_MAX_BYTES:
                    return False
                self._bodies += size
            return True

    def _release(self, size: int) -> None:
        with self._lock:
            if size > BODY_SMALL_BYTES:
                self._bodies -= size


def _listen(address: TcpAddress) -> socket.socket:
    try:
        return socket.create_server(
            (address.host, address.port),
            family=socket.AF_INET6 if ":" in address.host else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=address.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"listener `{address}`: {words}; stop what listens there or choose another address"
        ) from None


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Of the plain socket: its thread wakes up, and does the rest.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
