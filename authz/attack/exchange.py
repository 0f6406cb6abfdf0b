"""The door for gRPC as nobody should speak it: one connection to an ext_authz server, frame by frame."""

from __future__ import annotations

import socket

from authz.attack import http2
from authz.attack.case import Answer, Frames, Input, Verdict
from authz.attack.dial import Dial, Timer
from authz.attack.http1 import ANSWER_MAX_BYTES
from authz.attack.message import METHOD, read_answer

# After `http2`, which says in one line what is missing where the library is.
from h2.connection import H2Connection  # isort: skip
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset  # isort: skip


class FramesDoor:
    """Straight to an ext_authz server, frame by frame."""

    def __init__(self, dial: Dial, host: bytes) -> None:
        self._dial = dial
        self._host = host

    def send(self, given: Input) -> Answer:
        """Send frames, and say whether any of what came back was an allow."""
        if not isinstance(given, Frames):
            raise TypeError(f"frames cannot carry {type(given).__name__}")
        try:
            with self._dial.connect() as connection:
                return self._opened(connection, given)
        except TimeoutError:
            return Answer(Verdict.SILENT)
        except OSError as error:
            return Answer(Verdict.FAILED, note=(error.strerror or "the connection was closed").lower())

    def _opened(self, connection: socket.socket, given: Frames) -> Answer:
        if given.opening:
            connection.sendall(given.opening)
            connection.shutdown(socket.SHUT_WR)
            timer = Timer(self._dial.timeout_s)
            while connection.recv(65536):
                connection.settimeout(timer.left())
            return Answer(Verdict.REFUSED, note="the connection was closed")
        return _Exchange(connection, given, Timer(self._dial.timeout_s), self._host).run()


class _Exchange:
    """One connection: opens the streams, pushes what the other side's windows take, reads what comes."""

    def __init__(self, connection: socket.socket, given: Frames, timer: Timer, host: bytes) -> None:
        self._connection = connection
        self._given = given
        self._timer = timer
        self._host = host
        self._link: H2Connection = http2.connection_of()
        self._bodies: dict[int, bytes] = {}
        self._received = 0
        self._waiting: set[int] = set()
        self._gone = False

    def run(self) -> Answer:
        self._link.initiate_connection()
        for number in range(self._given.streams):
            if self._gone:
                break
            self._open(1 + 2 * number)
        if self._given.end and not self._given.reset:
            while self._waiting and not self._gone:
                self._take()
        return self._told()

    def _open(self, stream: int) -> None:
        link, given = self._link, self._given
        while link.open_outbound_streams >= link.remote_settings.max_concurrent_streams and not self._gone:
            self._take()
        link.send_headers(stream, [*self._headers(), *given.headers], end_stream=False)
        self._waiting.add(stream)
        self._push(stream, given.data)
        if given.reset and not self._gone:
            link.reset_stream(stream)
            self._waiting.discard(stream)
        self._flush()

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", METHOD.encode()),
            (b":authority", self._host),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]

    def _push(self, stream: int, data: bytes) -> None:
        """Send data as the other side's windows allow."""
        link, rest = self._link, memoryview(data)
        while rest and stream in self._waiting and not self._gone:
            size = min(link.local_flow_control_window(stream), link.max_outbound_frame_size, len(rest))
            if size <= 0:
                self._flush()
                self._take()
                continue
            link.send_data(stream, bytes(rest[:size]))
            rest = rest[size:]
            self._flush()
        if self._given.end and not self._given.reset and stream in self._waiting and not self._gone:
            link.end_stream(stream)

    def _flush(self) -> None:
        self._connection.settimeout(self._timer.left())
        try:
            self._connection.sendall(self._link.data_to_send())
        except (BrokenPipeError, ConnectionResetError):
            self._gone = True

    def _take(self) -> None:
        self._flush()
        if self._gone:
            return
        for event in http2.arrived(self._connection, self._link, self._timer):
            if isinstance(event, DataReceived):
                at = event.stream_id or 0
                self._received += len(event.data or b"")
                if self._received > ANSWER_MAX_BYTES:
                    self._gone = True
                    return
                self._bodies[at] = self._bodies.get(at, b"") + (event.data or b"")
                self._link.acknowledge_received_data(event.flow_controlled_length or 0, at)
            elif isinstance(event, StreamEnded | StreamReset):
                self._waiting.discard(event.stream_id or 0)
            elif isinstance(event, ConnectionTerminated):
                self._gone = True

    def _told(self) -> Answer:
        for body in self._bodies.values():
            answer = read_answer(body[5:], None, self._host) if len(body) >= 5 else None
            if answer is not None and answer.verdict is Verdict.ALLOWED:
                return answer
        return Answer(Verdict.REFUSED, note="no allow among the answers")
