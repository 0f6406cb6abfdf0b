"""The operators' door: health, readiness, metrics and recent records over HTTP. Never on the judging thread.

The standard library's server parses requests and runs threads: slow, but a few requests a second come here,
and a better one would cost memory in every pod. What it lacks is added: bounds for connections at once, for
bytes and seconds of a head and a body, for seconds of a reply; and one request a connection.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from authz.config.log import get_logger
from authz.model.address import Address, TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError
from authz.transport.routes import JSON, Page, Post, Response, Route, problem
from authz.transport.socket import Claim, claim

HEAD_MAX_BYTES = 8192  # a scrape sends 300
HEAD_TIMEOUT_S = 3.0  # for the whole head: a byte now and then does not extend it
BODY_MAX_BYTES = 64 * 1024  # a question about a few hundred buckets
REPLY_TIMEOUT_S = 10.0  # for the whole reply
CONNECTIONS_MAX = 16  # at once; others wait in the backlog, which is safer than refusing a probe
# What a connection surely has while others wait: 64 silent ones kept a probe waiting for 9 s, and a sidecar
# whose probe fails is killed. A probe sends its head at once; a scrape of 1 MB is read within a second.
CROWDED_HEAD_S = 0.1
CROWDED_REPLY_S = 1.0
_BACKLOG = 64
_SOCKET_MODE = 0o600

# SECURITY: a web page can lead a name of its own to us, and then read what it is answered; not an address.
_NO_NAME = re.compile(r"|(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,9}")
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_Connection = socket.socket | tuple[bytes, socket.socket]  # the second is for datagrams, which never come

_log = get_logger("ops")


class OpsServer:
    """Serves routes at one address, in threads of its own, from `start` to `close`.

    Args:
        address: parsed or as text; what listens at a `unix:PATH` only our own user may reach.
        routes: path -> what answers it; one that ends in `/` answers for all below it and is told the rest.
        posts: path -> what answers a POST there, and is told its body.
        pages: path -> what answers a GET there, and is told which forms its caller accepts.
        private: over TCP nobody is answered whom a web page may have led here by a name.

    Raises:
        ConfigError: the address cannot be read.
    """

    def __init__(
        self,
        address: Address | str,
        routes: Mapping[str, Route],
        posts: Mapping[str, Post] | None = None,
        pages: Mapping[str, Page] | None = None,
        *,
        private: bool = False,
    ) -> None:
        self._address = parse_address(address) if isinstance(address, str) else address
        self._routes = dict(routes)
        self._posts = dict(posts or {})
        self._pages = dict(pages or {})
        self._private = private and isinstance(self._address, TcpAddress)  # no web page opens a Unix socket
        self._claim: Claim | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> Address:
        """Where it listens: once started, with the real port where 0 was asked."""
        if isinstance(self._address, TcpAddress) and self._server is not None:
            return TcpAddress(self._address.host, self._server.socket.getsockname()[1])
        return self._address

    def start(self) -> None:
        """Begin to listen and answer.

        Raises:
            ConfigError: the port or socket cannot be had.
        """
        listener = self._listen()
        self._server = _Server(listener, self._routes, self._posts, self._pages, private=self._private)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="ops", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and give the address back. What is being answered may finish. Safe to call again."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _listen(self) -> socket.socket:
        if isinstance(self._address, TcpAddress):
            return _listen_tcp(self._address)
        self._claim = claim(self._address.path)
        try:
            return _listen_unix(self._address)
        except ConfigError:
            self._claim.release()
            raise


def _listen_tcp(address: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Only past connections of ours may linger; a live listener on the port still refuses us.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(address, error) from None
    return listener


def _listen_unix(address: UnixAddress) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(address.path))
        address.path.chmod(_SOCKET_MODE)  # SECURITY: before it listens, so that nobody slips in between
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(address, error) from None
    return listener


def _unusable(address: Address, error: OSError) -> ConfigError:
    words = (error.strerror or str(error)).lower()
    return ConfigError(f"listener `{address}`: {words}; stop what listens there or choose another address")


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts; each connection gets a thread, and no more than CONNECTIONS_MAX do at once."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: socket.socket,
        routes: Mapping[str, Route],
        posts: Mapping[str, Post],
        pages: Mapping[str, Page],
        *,
        private: bool,
    ) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()  # made by the base class, for an address that we do not want
        self.socket = listener
        self.routes, self.posts, self.pages = routes, posts, pages
        self.private = private
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._lock = threading.Lock()
        self._patience: dict[_Connection, float] = {}  # connection -> when it may be hung up on for others

    def process_request(self, request: _Connection, client_address: Any) -> None:
        """Wait for a slot; where all are taken, those who keep theirs for long lose it."""
        while not self._slots.acquire(timeout=CROWDED_HEAD_S / 2):
            self._hang_up()
        self.bear(request, CROWDED_HEAD_S)
        super().process_request(request, client_address)

    def bear(self, request: _Connection, seconds: float) -> None:
        """Let a connection be for so long from now, even where others wait."""
        with self._lock:
            self._patience[request] = time.monotonic() + seconds

    def _hang_up(self) -> None:
        now = time.monotonic()
        with self._lock:
            for request, end in self._patience.items():
                if end < now and isinstance(request, socket.socket):
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)  # its thread wakes up and gives the slot back

    def process_request_thread(self, request: _Connection, client_address: Any) -> None:
        """Answer one connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def shutdown_request(self, request: _Connection) -> None:
        """Close a connection; first it is forgotten, since its number may be another's at once."""
        with self._lock:
            self._patience.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: _Connection, client_address: Any) -> None:
        """Answer for a route that failed. A caller that hung up is none of our business."""
        if isinstance(sys.exception(), ConnectionError | TimeoutError) or not isinstance(
            request, socket.socket
        ):
            return
        _log.error("route failed", exc_info=True)
        with contextlib.suppress(OSError):
            request.sendall(_FAILED)  # nothing was sent before: a reply leaves whole


class _Handler(BaseHTTPRequestHandler):
    """One request: read within bounds, parsed by the library, answered, closed."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        """Take the connection without the library's unbounded reader and writer."""
        self.connection = self.request
        self.reply = self.wfile = io.BytesIO()

    def handle(self) -> None:
        """Answer the one request of this connection."""
        head = _read_head(self.connection)
        if head is None:
            return
        self.server.bear(self.connection, CROWDED_REPLY_S)
        self.rfile = io.BytesIO(head)
        self.requestline, self.request_version, self.command = "", "HTTP/1.1", ""
        self.allowed = "GET, HEAD"
        if not _is_whole(head):
            self._reply(problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
            return
        self.raw_requestline = self.rfile.readline(HEAD_MAX_BYTES)
        if self.parse_request():
            self._reply(self._route())

    def finish(self) -> None:
        """Send the reply, if there is one, as a whole."""
        self.connection.settimeout(REPLY_TIMEOUT_S)
        self.connection.sendall(self.reply.getvalue())

    def _route(self) -> Response:
        if self.server.private and not _NO_NAME.fullmatch(self.headers.get("host", "")):
            return problem(HTTPStatus.MISDIRECTED_REQUEST, "ask by address, or as localhost")
        path, _, query = self.path.partition("?")
        post = self.server.posts.get(path)
        self.allowed = "POST" if post is not None else "GET, HEAD"
        if post is not None and self.command == "POST":
            body = self._body()
            return body if isinstance(body, Response) else post(body)
        if post is not None or self.command not in ("GET", "HEAD"):
            return problem(HTTPStatus.METHOD_NOT_ALLOWED)
        page = self.server.pages.get(path)
        if page is not None:
            return page(",".join(self.headers.get_all("accept", [])))
        route = self.server.routes.get(path)
        if route is not None and not path.endswith("/"):
            return route(query)
        folder, slash, rest = path.rpartition("/")
        route = self.server.routes.get(folder + slash)
        return route(rest) if route is not None and rest else problem(HTTPStatus.NOT_FOUND)

    def _body(self) -> bytes | Response:
        """Read what was posted, within bounds; or return why it is not taken.

        SECURITY: nothing that a web page can send is taken, whatever address it reached: browsers name the
        page's origin in every POST, and send JSON to strangers only where those agree.
        """
        if "origin" in self.headers:
            return problem(HTTPStatus.FORBIDDEN, "web pages may not ask")
        if self.headers.get_content_type() != JSON:
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"post {JSON}")
        length = self.headers.get("content-length", "")
        if not _LENGTH.fullmatch(length):
            return problem(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > BODY_MAX_BYTES:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return _read_body(self.connection, self.rfile.read(), int(length))

    def _reply(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("content-type", response.content_type)
        self.send_header("content-length", str(len(response.body)))
        self.send_header("cache-control", "no-store")
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("connection", "close")
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("allow", self.allowed)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the library could not parse, in our form."""
        self.request_version = "HTTP/1.1"  # or an old or broken version gets a reply without a head
        self._reply(problem(HTTPStatus(code)))


def _read_head(connection: socket.socket) -> bytes | None:
    """Read up to the empty line, within bytes and seconds; None where nothing to answer came."""
    deadline = time.monotonic() + HEAD_TIMEOUT_S
    head = b""
    while not _is_whole(head):
        if len(head) >= HEAD_MAX_BYTES:
            return head
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = connection.recv(HEAD_MAX_BYTES)
        except (TimeoutError, ConnectionError):
            return None
        if not chunk or time.monotonic() > deadline:
            return None
        head += chunk
    return head


def _read_body(connection: socket.socket, begun: bytes, length: int) -> bytes | Response:
    """Read the rest of a body whose beginning came with the head, within seconds."""
    deadline = time.monotonic() + HEAD_TIMEOUT_S
    body = begun
    while len(body) < length:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(length - len(body))  # too late or gone: `handle_error` says nothing of it
        if not chunk or time.monotonic() > deadline:
            return problem(HTTPStatus.BAD_REQUEST, "the body ended early")
        body += chunk
    return body[:length]


def _is_whole(head: bytes) -> bool:
    return b"\r\n\r\n" in head or b"\n\n" in head
