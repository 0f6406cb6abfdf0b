"""A real receiver of OTLP, over gRPC and over HTTP: it keeps what it is sent, and answers as it is told.

with otlp_receiver() as receiver:
    parse_sink(receiver.grpc_url), parse_sink(receiver.http_url)
    receiver.wait_for(records=3)      # LogRecords so far, over both
    receiver.log_records(); receiver.spans()
    receiver.answer(Answer(rejected=1))              # from now on
    receiver.answer(Answer(code=StatusCode.UNAVAILABLE, retry_s=2.0, http=503))
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_WAIT_S = 10.0
_STORED_MAX = 100_000  # requests; a soak asks for counts, not for more


@dataclass(frozen=True)
class Answer:
    """How every request is answered.

    Args:
        code: of gRPC; None: yes.
        http: the status over HTTP.
        retry_s: with RetryInfo, or `retry-after`; None: without.
        rejected: records or spans that a yes says it has not taken.
        details: what the server says beside its code.
        delay_s: before it answers.
        raw: what it answers instead of a message.
    """

    code: grpc.StatusCode | None = None
    http: int = 200
    retry_s: float | None = None
    rejected: int = 0
    details: str = ""
    delay_s: float = 0.0
    raw: bytes | None = None


class Request(NamedTuple):
    """One request that arrived, whatever it was answered."""

    message: Any  # Export{Logs,Trace}ServiceRequest
    metadata: dict[str, str]  # headers, names in lower case


class Receiver:
    """What arrived, and how it is answered."""

    def __init__(self) -> None:
        self.grpc_port = self.http_port = 0
        self._requests: list[Request] = []
        self._answer = Answer()
        self._changed = Condition()
        self._records = self._spans = 0
        self.keeps = True  # False: only counts

    @property
    def grpc_url(self) -> str:
        """As `record_sink` and `trace_sink` name it."""
        return f"otlp://127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """The same over HTTP."""
        return f"otlp+http://127.0.0.1:{self.http_port}"

    def answer(self, answer: Answer) -> None:
        """Answer so from now on."""
        self._answer = answer

    def requests(self) -> list[Request]:
        """Return what arrived, refused requests among it."""
        with self._changed:
            return [*self._requests]

    def log_records(self) -> list[LogRecord]:
        """Return the LogRecords of all requests, in the order in which they came."""
        return [
            record
            for request in self.requests()
            if isinstance(request.message, logs_service_pb2.ExportLogsServiceRequest)
            for resource in request.message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def spans(self) -> list[Span]:
        """Return the Spans of all requests, in the order in which they came."""
        return [
            span
            for request in self.requests()
            if isinstance(request.message, trace_service_pb2.ExportTraceServiceRequest)
            for resource in request.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def clear(self) -> None:
        """Forget what arrived, and answer yes again."""
        with self._changed:
            self._requests.clear()
            self._records = self._spans = 0
        self._answer = Answer()

    def wait_for(self, *, requests: int = 0, records: int = 0, spans: int = 0) -> None:
        """Wait until so much has arrived; fails after ten seconds."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: len(self._requests) >= requests and self._records >= records and self._spans >= spans,
                _WAIT_S,
            )
            assert arrived, f"{len(self._requests)} requests, {self._records} records, {self._spans} spans"

    def take(self, message: Any, metadata: dict[str, str]) -> Answer:
        """Keep a request; return how to answer it."""
        answer = self._answer
        with self._changed:
            if self.keeps and len(self._requests) < _STORED_MAX:
                self._requests.append(Request(message, metadata))
            if isinstance(message, logs_service_pb2.ExportLogsServiceRequest):
                self._records += sum(len(s.log_records) for r in message.resource_logs for s in r.scope_logs)
            else:
                self._spans += sum(len(s.spans) for r in message.resource_spans for s in r.scope_spans)
            self._changed.notify_all()
        if answer.delay_s:
            time.sleep(answer.delay_s)
        return answer


def _logs_said(answer: Answer) -> Any:
    said = logs_service_pb2.ExportLogsServiceResponse()
    if answer.rejected:
        said.partial_success.rejected_log_records = answer.rejected
        said.partial_success.error_message = answer.details
    return said


def _traces_said(answer: Answer) -> Any:
    said = trace_service_pb2.ExportTraceServiceResponse()
    if answer.rejected:
        said.partial_success.rejected_spans = answer.rejected
        said.partial_success.error_message = answer.details
    return said


class _Service:
    """Either service of gRPC: the generated ones have the same method."""

    def __init__(self, receiver: Receiver, said: Callable[[Answer], Any]) -> None:
        self._receiver, self._said = receiver, said

    def Export(self, message: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        answer = self._receiver.take(message, metadata)
        if answer.code is None:
            return self._said(answer)
        if answer.retry_s is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", _retry_info(answer)),))
        context.abort(answer.code, answer.details)
        return None


def _retry_info(answer: Answer) -> bytes:
    delay = Duration()
    delay.FromNanoseconds(int((answer.retry_s or 0.0) * 1e9))
    status = status_pb2.Status(code=8)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    data: bytes = status.SerializeToString()
    return data


_HTTP: dict[str, tuple[Any, Callable[[Answer], Any]]] = {
    "/v1/logs": (logs_service_pb2.ExportLogsServiceRequest, _logs_said),
    "/v1/traces": (trace_service_pb2.ExportTraceServiceRequest, _traces_said),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        kind, said = _HTTP.get(self.path, (None, _logs_said))
        if kind is None:
            self._say(404, b"", None)
            return
        metadata = {name.lower(): value for name, value in self.headers.items()}
        answer = self.receiver.take(kind.FromString(body), metadata)
        data = said(answer).SerializeToString() if answer.raw is None else answer.raw
        self._say(answer.http, data, answer.retry_s)

    def _say(self, status: int, data: bytes, retry_s: float | None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(data)))
        if retry_s is not None:
            self.send_header("retry-after", str(int(retry_s)))
        self.end_headers()
        self.wfile.write(data)

    def handle(self) -> None:
        """Serve a connection until either side hangs up."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def otlp_receiver(tls: tuple[Path, Path, Path | None] | None = None) -> Iterator[Receiver]:
    """Serve on two free ports of loopback.

    Args:
        tls: certificate, key and, where callers must show one, the CA of theirs: for gRPC alone.
    """
    receiver = Receiver()
    with ThreadPoolExecutor(8) as pool, _http(receiver):
        options = [("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.so_reuseport", 0)]
        server = grpc.server(pool, options=options)
        # The generated functions have no types.
        logs: Any = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
        traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        logs(_Service(receiver, _logs_said), server)
        traces(_Service(receiver, _traces_said), server)
        if tls is None:
            receiver.grpc_port = server.add_insecure_port("127.0.0.1:0")
        else:
            receiver.grpc_port = server.add_secure_port("127.0.0.1:0", _secured(*tls))
        server.start()
        try:
            yield receiver
        finally:
            server.stop(None).wait()


def _secured(cert: Path, key: Path, client_ca: Path | None) -> Any:
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())],
        client_ca.read_bytes() if client_ca else None,
        client_ca is not None,
    )


@contextmanager
def _http(receiver: Receiver) -> Iterator[None]:
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        receiver.http_port = server.server_port
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
