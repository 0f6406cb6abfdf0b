"""What answers at the address of a sink is not well, or no collector, or lies: what becomes of a batch.

Each row has a collector and a sink of its own: one batch is delivered while all is well, the fault is played
on the connection that is there and on new ones, and then all is well again. Whatever the row: a batch is done
with by its deadline, why it failed is one line that repeats nothing of what the server said, and the next one
arrives.
"""

from __future__ import annotations

import base64
import gzip
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from authz.model.sink import parse_sink
from authz.shipping.delivery import Batch, Refused, Rejected, Unavailable
from authz.shipping.errand import Access
from authz.shipping.http import HttpSink
from authz.shipping.otlp import HttpExporter
from authz.shipping.otlp_grpc import GrpcExporter
from authz.shipping.otlp_logs import OtlpLogSink
from tests.support.batches import batch_of, records
from tests.support.collector import (
    ACCEPT,
    Line,
    Play,
    answering,
    collector,
    deaf,
    dripping,
    endless,
    hanging_up,
    saying,
    stalling,
)

TOKEN = "canary-token-7f3a9c"
SERVER_WORDS = "canary-words-of-the-server-51e0"

TIMEOUT_S = 0.4
PATIENCE_S = 20.0  # the machine may be busy: what never ends is what is looked for
_AT_ONCE = 8
_LARGE = 40  # lines of a batch that no buffer of a socket holds, packed though it is
_LARGE_LINE_BYTES = 200_000


class Row(NamedTuple):
    """A fault, and what becomes of the batch.

    Args:
        outcome: delivered | unavailable | refused | rejected.
        why: what is said of it, but for the address; a regular expression.
        retry_s: what the server is understood to say of when.
    """

    name: str
    play: Play
    outcome: str
    why: str = ""
    retry_s: float = 0.0
    large: bool = False


DELIVERED, UNAVAILABLE, REFUSED, REJECTED = "delivered", "unavailable", "refused", "rejected"

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
NO_HTTP = "what it answers is no HTTP, or ends too early"
LATE = "no whole answer in time"
WITHOUT_END = "an answer without end"
HUNG_UP = "(hung up|connection reset by peer|broken pipe)"


def status(code: int, *headers: str, body: bytes = b"") -> Play:
    """A status, with words of the server wherever they may stand."""
    words = SERVER_WORDS.encode()
    return answering(code, f"x-said: {SERVER_WORDS}", *headers, body=body or words)


def _early(line: Line) -> None:
    """Refuses a question by its head alone, and hangs up while it is still being sent."""
    line.send(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    raise OSError


def _early_and_stays(line: Line) -> None:
    line.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    line.hold()


def _deaf_and_gone(_line: Line) -> None:
    raise OSError


def _late_head(line: Line) -> None:
    line.take()
    line.send(b"HTTP/1.1 200 ")
    line.hold()


def _gzip_bomb(line: Line) -> None:
    body = gzip.compress(b"x" * 30_000_000)
    line.take()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


ANSWERS = (
    Row("says 200", status(200), DELIVERED),
    Row(
        "says 202 without a length, and hangs up",
        saying(b"HTTP/1.1 202 A\r\n\r\nwell", hangs_up=True),
        DELIVERED,
    ),
    Row("says 204", answering(204), DELIVERED),
    Row("says 299", status(299), DELIVERED),
    Row(
        "says 200 in HTTP/1.0",
        saying(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", hangs_up=True),
        DELIVERED,
    ),
    Row(
        "says 200 in chunks",
        saying(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"),
        DELIVERED,
    ),
    Row(
        "says 100 and then 200",
        saying(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        DELIVERED,
    ),
    Row("says 200 and a megabyte", answering(200, body=b"x" * 1_000_000), DELIVERED),
    Row("says 200 and as much as is read", answering(200, body=b"x" * 100_000), DELIVERED),
    Row("says 200 and a bomb", _gzip_bomb, DELIVERED),
    Row(
        "says 200 and more than it said",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 N\r\n\r\n"),
        DELIVERED,
    ),
    Row("says 200 twice", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 2), DELIVERED),
)
STATUSES = (
    *(Row(f"says {code}", status(code), REFUSED, f"answers {code}") for code in (400, 413, 415, 422)),
    *(
        Row(f"says {code}", status(code), UNAVAILABLE, f"answers {code}")
        for code in (408, 425, 429, 500, 502, 503, 504, 599)
    ),
    *(
        Row(f"says {code}", status(code), UNAVAILABLE, f"answers {code}; look at .*")
        for code in (401, 403, 404, 405)
    ),
    *(
        Row(f"says {code}", status(code), UNAVAILABLE, f"answers {code}")
        for code in (402, 409, 410, 418, 451, 499, 600, 999)
    ),
    *(
        Row(
            f"says {code}",
            status(code, "location: http://127.0.0.1:1/"),
            UNAVAILABLE,
            f"answers {code}, which is not followed; name the place itself",
        )
        for code in (301, 302, 303, 307, 308)
    ),
    Row("says 304", answering(304), UNAVAILABLE, "answers 304, .*"),
    Row("says 101", saying(b"HTTP/1.1 101 Up\r\nupgrade: x\r\n\r\n"), UNAVAILABLE, "answers 101"),
    Row("says 103", saying(b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n"), UNAVAILABLE, "answers 103"),
)
WAITS = (
    Row("come back in 7 seconds", status(503, "retry-after: 7"), UNAVAILABLE, "answers 503", 7.0),
    Row("come back in 7 seconds, too many", status(429, "retry-after: 7"), UNAVAILABLE, "answers 429", 7.0),
    Row("come back in a year", status(503, "retry-after: 31536000"), UNAVAILABLE, "answers 503", 60.0),
    Row("come back in 10^30 seconds", status(503, "retry-after: 1" + "0" * 30), UNAVAILABLE, "answers 503"),
    Row(
        "come back tomorrow",
        status(503, "retry-after: Fri, 01 Jan 2100 00:00:00 GMT"),
        UNAVAILABLE,
        "answers 503",
        60.0,
    ),
    Row(
        "come back yesterday",
        status(503, "retry-after: Thu, 01 Jan 1970 00:00:00 GMT"),
        UNAVAILABLE,
        "answers 503",
    ),
    Row(
        "come back in the year 99999",
        status(503, "retry-after: Fri, 01 Jan 99999 00:00:00 GMT"),
        UNAVAILABLE,
        "answers 503",
    ),
    Row("come back in -5 seconds", status(503, "retry-after: -5"), UNAVAILABLE, "answers 503"),
    Row("come back in nan seconds", status(503, "retry-after: nan"), UNAVAILABLE, "answers 503"),
    Row("come back whenever", status(503, f"retry-after: {SERVER_WORDS}"), UNAVAILABLE, "answers 503"),
    Row("come back, but it is our token", status(401, "retry-after: 7"), UNAVAILABLE, "answers 401; .*"),
)
SILENCE = (
    Row("silence", stalling, UNAVAILABLE, LATE),
    Row("half a status line and silence", _late_head, UNAVAILABLE, LATE),
    Row("a status line, byte by byte", dripping(b"HTTP/1.1 200 OK" + b" " * 60_000), UNAVAILABLE, LATE),
    Row("headers, byte by byte", dripping(b"HTTP/1.1 200 OK\r\nx-a: " + b"y" * 60_000), UNAVAILABLE, LATE),
    Row(
        "a body, byte by byte",
        dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + b"y" * 50_000, 0.01),
        UNAVAILABLE,
        LATE,
    ),
    Row(
        "chunks, byte by byte",
        dripping(CHUNKED + b"1\r\nx\r\n" * 9_000, 0.01),
        UNAVAILABLE,
        LATE,
    ),
    Row("reads nothing of a large batch", deaf, UNAVAILABLE, LATE, large=True),
    Row(
        "promises more than it says",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok"),
        UNAVAILABLE,
        LATE,
    ),
    Row(
        "promises a gigabyte and says a little",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\nok"),
        UNAVAILABLE,
        LATE,
    ),
)
HANGING_UP = (
    Row("hangs up", hanging_up, UNAVAILABLE, HUNG_UP),
    Row("hangs up in the status line", saying(b"HTTP/1.1 20", hangs_up=True), UNAVAILABLE, NO_HTTP),
    Row("hangs up in the headers", saying(b"HTTP/1.1 200 OK\r\nx-a", hangs_up=True), UNAVAILABLE, NO_HTTP),
    Row(
        "hangs up in the body",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", hangs_up=True),
        UNAVAILABLE,
        NO_HTTP,
    ),
    Row(
        "hangs up in a chunk",
        saying(CHUNKED + b"ff\r\nok", hangs_up=True),
        UNAVAILABLE,
        NO_HTTP,
    ),
    Row("refuses a large batch unread, and hangs up", _early, REFUSED, "answers 413", large=True),
    Row("refuses a large batch unread, and stays", _early_and_stays, REFUSED, "answers 413", large=True),
)
GARBAGE = (
    *(
        Row(name, saying(data, hangs_up=True), UNAVAILABLE, NO_HTTP)
        for name, data in {
            "an SSH server": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            "a mail server": b"220 mail.example.com ESMTP\r\n",
            "a Redis": b"-ERR unknown command 'POST'\r\n",
            "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x0a",
            "bytes": bytes(range(128, 256)) * 8 + b"\r\n",
            "zeroes": b"\0" * 4096,
            "an HTTP/2 server": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
            "HTTP of version 9": b"HTTP/9.9 200 OK\r\n\r\n",
            "a status that is none": b"HTTP/1.1 abc OK\r\n\r\n",
            "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
            "a negative status": b"HTTP/1.1 -20 OK\r\n\r\n",
            "a status alone": b"200\r\n\r\n",
            "terminal codes": b"\x1b[2J\x1b[31m" + SERVER_WORDS.encode() + b"\r\n\r\n",
            "a chunk size that is none": CHUNKED + b"zz\r\nok\r\n",
            "a negative chunk size": CHUNKED + b"-5\r\nok\r\n0\r\n\r\n",
        }.items()
    ),
    Row(
        "a length that is none",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok", hangs_up=True),
        DELIVERED,
    ),
    Row(
        "a negative length",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nok", hangs_up=True),
        DELIVERED,
    ),
    Row(
        "two lengths",
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 9\r\n\r\nok"),
        DELIVERED,
    ),
    Row(
        "a thousand headers",
        saying(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 1000 + b"\r\n"),
        UNAVAILABLE,
        NO_HTTP,
    ),
    Row(
        "a long header",
        saying(b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * 70_000 + b"\r\n\r\n"),
        UNAVAILABLE,
        NO_HTTP,
    ),
)
ENDLESS = (
    Row(
        "a status line without end",
        endless(b"HTTP/1.1 200 ", b"x" * 65_536),
        UNAVAILABLE,
        f"({NO_HTTP}|{WITHOUT_END})",
    ),
    Row(
        "headers without end",
        endless(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 8192),
        UNAVAILABLE,
        f"({NO_HTTP}|{WITHOUT_END})",
    ),
    Row("a body without end", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), DELIVERED),
    Row(
        "chunks without end",
        endless(CHUNKED, b"1\r\nx\r\n" * 9000),
        UNAVAILABLE,
        WITHOUT_END,
    ),
    Row("100 without end", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000), UNAVAILABLE, WITHOUT_END),
    Row(
        "a body without end after a refusal",
        endless(b"HTTP/1.1 400 No\r\n\r\n", b"x" * 65_536),
        REFUSED,
        "answers 400",
    ),
)
LARGE = (
    Row("takes a large batch, in its own time", ACCEPT, DELIVERED, large=True),
    Row("hangs up on a large batch, unread", _deaf_and_gone, UNAVAILABLE, HUNG_UP, large=True),
)
ROWS = (*ANSWERS, *STATUSES, *WAITS, *SILENCE, *HANGING_UP, *GARBAGE, *ENDLESS, *LARGE)


# --- OTLP


def told(rejected: int) -> bytes:
    """A yes that says how many records it has not taken, and why, with words of the server."""
    said = ExportLogsServiceResponse()
    said.partial_success.rejected_log_records = rejected
    said.partial_success.error_message = SERVER_WORDS
    data: bytes = said.SerializeToString()
    return data


def _unpacked(play: Play) -> Play:
    """What a server of gRPC is sent is no HTTP/1.1: nothing is taken."""

    def played(line: Line) -> None:
        line.take = lambda: None  # type: ignore[method-assign,assignment,return-value]
        play(line)

    return played


RECORDS = 10  # of a batch
OTLP_HTTP = (
    Row("takes all of them", answering(200, body=told(0)), DELIVERED),
    Row("takes all but three", answering(200, body=told(3)), REJECTED, "3"),
    Row("takes none", answering(200, body=told(RECORDS)), REFUSED, "it answers that it took none of them"),
    Row(
        "has not taken more than there were", answering(200, body=told(10**15)), REFUSED, "it .* took none .*"
    ),
    Row("has not taken less than none", answering(200, body=told(-4)), DELIVERED),
    Row("says yes in words", answering(200, body=b"\xff\xfe" + SERVER_WORDS.encode()), DELIVERED),
    Row("says yes in JSON", answering(200, body=b'{"partialSuccess":{}}'), DELIVERED),
    Row("says no in words", status(400), REFUSED, "answers 400"),
    Row("is silent", stalling, UNAVAILABLE, LATE),
    Row("is a redirect", status(307, "location: /v2"), UNAVAILABLE, "answers 307, .*"),
)
OTLP_GRPC = (
    *(
        Row(f"is {name}", _unpacked(saying(data, hangs_up=True)), UNAVAILABLE, "answers UNAVAILABLE(: .*)?")
        for name, data in {
            "an SSH server": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            "an HTTP/1.1 server": b"HTTP/1.1 400 " + SERVER_WORDS.encode() + b"\r\ncontent-length: 0\r\n\r\n",
            "zeroes": b"\0" * 4096,
            "nobody": b"",
        }.items()
    ),
    Row("is silent", deaf, UNAVAILABLE, "answers (DEADLINE_EXCEEDED: no answer in time|UNAVAILABLE.*)"),
    Row(
        "greets, and is silent",
        _unpacked(dripping(b"\0\0\0\4\0\0\0\0\0")),
        UNAVAILABLE,
        "answers (DEADLINE_EXCEEDED: no answer in time|UNAVAILABLE.*)",
    ),
    Row(
        "never ends a frame",
        _unpacked(endless(b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0" + b"\0" * 8)),
        UNAVAILABLE,
        "answers (DEADLINE_EXCEEDED: no answer in time|UNAVAILABLE.*)",
    ),
)


# --- how rows are played


class Seen(NamedTuple):
    """What became of one batch."""

    outcome: str
    why: str
    retry_s: float
    took_s: float


def large_batch(first_seq: int) -> Batch:
    """Return a batch that gzip makes no smaller."""
    rng = random.Random(first_seq)
    texts = (base64.b64encode(rng.randbytes(_LARGE_LINE_BYTES)) for _ in range(_LARGE))
    return batch_of(*(b'{"v":1,"text":"%s"}\n' % text for text in texts), first_seq=first_seq)


def _delivered(sink: HttpSink | OtlpLogSink, batch: Batch) -> Seen:
    began_s = time.monotonic()
    outcome, why, retry_s = DELIVERED, "", 0.0
    try:
        sink.deliver(batch)
    except Rejected as error:
        outcome, why = REJECTED, str(error.count)
    except Refused as error:
        outcome, why = REFUSED, str(error)
    except Unavailable as error:
        outcome, why, retry_s = UNAVAILABLE, str(error), error.retry_s
    return Seen(outcome, why, retry_s, time.monotonic() - began_s)


def _tried(row: Row, made: Callable[[str, Access], HttpSink | OtlpLogSink], well: bool) -> tuple[Seen, Seen]:
    """Play a row from beginning to end; return what became of its batch, and of the one after it."""
    patience = Access(timeout_s=PATIENCE_S, http_token=TOKEN)
    with collector() as it:
        sink = made(f"127.0.0.1:{it.port}", patience)
        if well:
            assert _delivered(sink, records(1, 1)).outcome == DELIVERED
        if LATE in row.why or "DEADLINE" in row.why:
            _hasten(sink)
        it.play(row.play)
        seen = _delivered(sink, large_batch(2) if row.large else records(2, 1 + RECORDS))
        it.play(ACCEPT)
        _hasten(sink, PATIENCE_S)
        after = _delivered(sink, records(100, 100)) if well else seen
        sink.close()
        return seen, after


def _hasten(sink: HttpSink | OtlpLogSink, timeout_s: float = TIMEOUT_S) -> None:
    if isinstance(sink, HttpSink):
        sink._poster._access = replace(sink._poster._access, timeout_s=timeout_s)
        return
    exporter = sink._client._exporter
    if isinstance(exporter, HttpExporter):
        exporter._poster._access = replace(exporter._poster._access, timeout_s=timeout_s)
    elif isinstance(exporter, GrpcExporter):
        exporter._access = replace(exporter._access, timeout_s=timeout_s)


def _http(where: str, access: Access) -> HttpSink:
    return HttpSink(parse_sink(f"http://{where}/records"), access, "http")


def _otlp_http(where: str, access: Access) -> OtlpLogSink:
    return OtlpLogSink(parse_sink(f"otlp+http://{where}"), access, "otlp")


def _otlp_grpc(where: str, access: Access) -> OtlpLogSink:
    return OtlpLogSink(parse_sink(f"otlp://{where}"), access, "otlp")


TABLES: dict[str, tuple[tuple[Row, ...], Callable[[str, Access], HttpSink | OtlpLogSink], bool]] = {
    "http": (ROWS, _http, True),
    "otlp+http": (OTLP_HTTP, _otlp_http, True),
    "otlp": (OTLP_GRPC, _otlp_grpc, False),  # what plays is no server of gRPC, and cannot be well
}
CASES = [(kind, row) for kind, (rows, _, _) in TABLES.items() for row in rows]


@pytest.fixture(scope="module")
def played() -> Iterator[dict[tuple[str, str], Future[tuple[Seen, Seen]]]]:
    """All rows are played before the first is judged: most of their time is the patience of a sink."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            (kind, row.name): pool.submit(_tried, row, made, well)
            for kind, (rows, made, well) in TABLES.items()
            for row in rows
        }


@pytest.mark.parametrize(("kind", "row"), CASES, ids=[f"{kind}: {row.name}" for kind, row in CASES])
def test_whatever_answers_there_has_the_outcome_that_is_stated(
    played: dict[tuple[str, str], Future[tuple[Seen, Seen]]], kind: str, row: Row
) -> None:
    seen, after = played[kind, row.name].result(60)
    assert seen.outcome == row.outcome, seen
    assert seen.retry_s == row.retry_s
    assert seen.took_s < PATIENCE_S
    assert re.fullmatch(rf"(127\.0\.0\.1:\d+:? )?({row.why})", seen.why), seen.why
    assert TOKEN not in seen.why
    assert SERVER_WORDS not in seen.why
    if TABLES[kind][2]:
        assert after.outcome == DELIVERED, after


def test_no_name_stands_twice() -> None:
    assert len({(kind, row.name) for kind, row in CASES}) == len(CASES)
