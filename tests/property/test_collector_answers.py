"""Whatever bytes a collector answers, in whatever pieces: a batch is delivered, refused, or offered again."""

from __future__ import annotations

import socket
from time import monotonic

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from authz.model.sink import parse_sink
from authz.shipping.delivery import Refused, Rejected, Unavailable
from authz.shipping.errand import Access
from authz.shipping.otlp_logs import OtlpLogSink, _rejected
from authz.shipping.post import BODY_MAX_BYTES, Poster, Reply, _Unheard, judge
from authz.shipping.wire import Wire

_WORDS = (
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"200", b"204", b"100", b"301", b"413", b"503", b"-1", b" OK",
    b"\r\n", b"\n", b"\r\n\r\n", b"content-length: ", b"0", b"5", b"99999999999999999999", b"-5",
    b"transfer-encoding: chunked", b"connection: close", b"connection: keep-alive", b"retry-after: ",
    b"retry-after: Fri, 31 Dec 9999 23:59:59 -9999", b"content-encoding: gzip", b"5\r\nhello\r\n",
    b"0\r\n\r\n", b"hello", b"\0", b"\xff", b":", b" ", b"\t",
)  # fmt: skip
_ANSWERS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(_WORDS), max_size=24).map(b"".join),
    st.lists(st.sampled_from(_WORDS), max_size=16).map(
        lambda words: b"HTTP/1.1 200 OK\r\n" + b"".join(words)
    ),
)


@given(_ANSWERS)
@example(b"HTTP/1.1 503 No\r\nretry-after: Fri, 31 Dec 9999 23:59:59 -9999\r\ncontent-length: 0\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nx")
def test_any_answer_has_one_of_three_meanings_and_says_nothing_of_the_servers(data: bytes) -> None:
    told = _told(data)
    if isinstance(told, Reply):
        assert 200 <= told.status < 300
        assert len(told.body) <= BODY_MAX_BYTES
    elif isinstance(told, _Unheard):
        assert data == b""
    else:
        assert str(told).isascii()
        assert str(told).isprintable()
        assert "hello" not in str(told)
        assert 0.0 <= getattr(told, "retry_s", 0.0) <= 60.0


def _told(data: bytes) -> Reply | Unavailable | Refused | _Unheard:
    """Return what becomes of a question that is answered so."""
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    poster = Poster(parse_sink("http://a.test/"), Access(timeout_s=20), "/", "text/plain")
    wire = poster._wire = Wire(ours, monotonic)
    try:
        reply = poster._ask(wire, b"", monotonic() + 20)
        judge(reply, "a.test:80", 1_795_000_000.0)
    except (Unavailable, Refused, _Unheard) as error:
        return error
    finally:
        wire.close()
        theirs.close()
    return reply


def _answer(rejected: int) -> ExportLogsServiceResponse:
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected)
    return ExportLogsServiceResponse(partial_success=partial)


class _Answering:
    """A collector that answers so."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def export(self, payload: bytes) -> bytes:
        return self._data

    def close(self) -> None:
        pass


@given(st.binary(max_size=64))
@example(_answer(-3).SerializeToString())
@example(_answer(3).SerializeToString())
def test_whatever_otlp_answers_a_request_is_taken_or_rejected_in_part_or_refused(data: bytes) -> None:
    sink = OtlpLogSink(parse_sink("otlp://a.test"), Access(), "otlp")
    sink._client = _Answering(data)  # type: ignore[assignment] # what is asked of a client, it does
    told: Refused | None = None
    try:
        sink.hand_over(b"", 5, _rejected)
    except Refused as refused:
        told = refused
    assert not isinstance(told, Rejected) or 0 < told.count < 5
    assert isinstance(told, Rejected | None) or str(told) == "it answers that it took none of them"
