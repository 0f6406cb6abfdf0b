"""A sample application: an HTTP/1.1 server that tells what reached it.

It answers every request with its method, path, headers and body length as JSON, and remembers them, so that
the demo and the tests see exactly what passed. It reads requests itself: a library would tidy up the very
oddities that we look for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from types import TracebackType
from typing import cast

_REMEMBERED = 100_000  # requests kept; the oldest go first
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the application got it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]  # names in lower case, in order, duplicates kept
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Return every value of a header, in order."""
        return [value for key, value in self.headers if key == name]

    def as_json(self) -> bytes:
        """Return what the application answers."""
        fields = {"method": self.method, "path": self.path, "headers": self.headers}
        return json.dumps({**fields, "body_bytes": len(self.body)}).encode() + b"\n"


class Upstream:
    """The server, in threads of its own.

    Args:
        address: where it listens; port 0 is a free one.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._seen: deque[Seen] = deque(maxlen=_REMEMBERED)
        self._server = _Server(address, _Handler)
        self._server.remember = self._seen.append
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="upstream", daemon=True
        )

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.close_all()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def take(self) -> list[Seen]:
        """Return what arrived since the last call, and forget it."""
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(address, handler)
        self.remember: Callable[[Seen], None] = lambda _seen: None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: object, client_address: object) -> None:
        with self._lock:
            self._open.add(cast(socket.socket, request))
        super().process_request(cast(socket.socket, request), client_address)

    def shutdown_request(self, request: object) -> None:
        with self._lock:
            self._open.discard(cast(socket.socket, request))
        super().shutdown_request(cast(socket.socket, request))

    def close_all(self) -> None:
        """Wake every thread that waits for the next request on a connection that Envoy keeps open."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast(_Server, self.server)
        try:
            while (seen := read_request(self.rfile)) is not None:
                server.remember(seen)
                if seen.values("upgrade") == ["websocket"]:
                    self._echo(seen)
                    return
                self.wfile.write(_reply(seen))
        except (OSError, ValueError):
            return  # a broken connection or a broken request: the next one gets a fresh connection

    def _echo(self, seen: Seen) -> None:
        """Switch to a websocket and send back whatever comes; frames are not looked into."""
        key = "".join(seen.values("sec-websocket-key")).encode()
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET).digest())  # noqa: S324 - RFC 6455 says SHA-1
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
        while data := self.request.recv(4096):
            self.wfile.write(data)


def read_request(stream: BufferedIOBase) -> Seen | None:
    """Read one request; None at the end of the connection.

    Raises:
        ValueError: it is not HTTP/1.1. Envoy never sends such a thing.
    """
    line = stream.readline()
    if not line.strip():
        return None
    method, path, _version = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    headers = tuple(_headers(stream))
    seen = Seen(method, path, headers)
    return Seen(method, path, headers, _body(stream, seen))


def _headers(stream: BufferedIOBase) -> list[tuple[str, str]]:
    headers = []
    while line := stream.readline().rstrip(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip(" \t")))
    return headers


def _body(stream: BufferedIOBase, seen: Seen) -> bytes:
    if seen.values("transfer-encoding") == ["chunked"]:
        return b"".join(_chunks(stream))
    return stream.read(int("".join(seen.values("content-length")) or 0))


def _chunks(stream: BufferedIOBase) -> list[bytes]:
    chunks = []
    while size := int(stream.readline().split(b";")[0], 16):
        chunks.append(stream.read(size))
        stream.readline()
    while stream.readline().strip():
        pass  # trailers
    return chunks


def _reply(seen: Seen) -> bytes:
    body = seen.as_json()
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nx-upstream: sample\r\n\r\n"
    )
    return head.encode() + (b"" if seen.method == "HEAD" else body)
