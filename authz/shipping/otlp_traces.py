"""Spans of traced checks, as OTLP traces: made of their records, so a span shows nothing that a record hides.

A record of a check that was traced has a `span_id`; all other lines are passed over unread. Names of
attributes are those of OpenTelemetry's semantic conventions, and begin with `authz.` where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from authz import __version__
from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch
from authz.shipping.errand import Access
from authz.shipping.otlp import OtlpSink

SPAN_NAME = "authz check"  # the same for all: names are for grouping, what was asked is in the attributes
_BATCH_BYTES = 1024 * 1024  # of lines; a span is about as long as its line, and a collector takes 4 MiB
_TRACED = b'"span_id":"'  # in no other line but where a label has that name: quotes of others are escaped
_SCOPE = "authz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of the flags of a span: sampled; it is known whether the parent is another process's; and it is.
# Source: opentelemetry.proto.trace.v1.SpanFlags.
_FLAGS = 0x001 | 0x100 | 0x200
_UNAVAILABLE = 503  # our own failure; whoever is refused by a rule is answered as it should be
_DECIDED = "decided"  # the step at which a record has its time


class _Identity(Struct, frozen=True, gc=False):
    kind: str = ""
    provider: str = ""
    subject: str = ""
    key_id: str = ""
    customer: str = ""


class _Asked(Struct, frozen=True, gc=False):
    method: str = ""
    host: str = ""
    path: str = ""
    protocol: str = ""
    client_address: str = ""
    size: int = -1


class _Limit(Struct, frozen=True, gc=False):
    name: str = ""
    refused: str = ""


class _Line(Struct, frozen=True, gc=False):
    """What a span shows of a record; everything else is skipped unread."""

    time: datetime
    span_id: str = ""
    trace_id: str = ""
    parent_span_id: str = ""
    sidecar: str = ""
    steps: list[tuple[str, int]] = []
    duration_us: int = 0
    status: int = 0
    decision_id: str = ""
    request_id: str = ""
    revision: str = ""
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    policy: str = ""
    rule: str = ""
    identity: _Identity = _Identity()
    request: _Asked = _Asked()
    limits: list[_Limit] = []


_read = msgspec.json.Decoder(_Line).decode


class OtlpTraceSink(OtlpSink):
    """One collector. See `delivery.Sink`.

    Args:
        service: what spans call this service.
    """

    batch_bytes = _BATCH_BYTES

    def __init__(self, address: SinkAddress, access: Access, name: str, service: str = "authz") -> None:
        super().__init__(address, access, name, "traces")
        self._service = service

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`. A batch without spans is delivered by passing it over."""
        message, count = request(batch.lines, self._service)
        if count:
            self.hand_over(message, count, _rejected)


def request(lines: bytes, service: str) -> tuple[bytes, int]:
    """Return the request that carries the spans of some lines, and how many there are: none is b""."""
    found = [line for line in _traced(lines) if line.span_id]
    if not found:
        return b"", 0
    message = ExportTraceServiceRequest()
    part = message.resource_spans.add()
    part.resource.attributes.extend(
        _texts(
            ("service.name", service),
            ("service.instance.id", found[0].sidecar),  # a stream has one
            ("service.version", __version__),
        )
    )
    scope = part.scope_spans.add()
    scope.scope.name, scope.scope.version = _SCOPE, __version__
    scope.spans.extend(map(_span, found))
    data: bytes = message.SerializeToString()
    return data, len(found)


def _traced(lines: bytes) -> Iterator[_Line]:
    """Read the lines that have spans: to look for one in 1 MiB that has none takes 50 us."""
    at = lines.find(_TRACED)
    while at >= 0:
        begin, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
        end = end if end >= 0 else len(lines)
        with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a line that is not as we write them
            yield _read(lines[begin:end])
        at = lines.find(_TRACED, end)


def _span(line: _Line) -> Span:
    decided_us = next((at_us for name, at_us in line.steps if name == _DECIDED), line.duration_us)
    began_us = _us(line.time) - decided_us
    span = Span(
        trace_id=_id(line.trace_id, 16),
        span_id=_id(line.span_id, 8),
        parent_span_id=_id(line.parent_span_id, 8),
        flags=_FLAGS,
        name=SPAN_NAME,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=began_us * 1000,
        end_time_unix_nano=(began_us + line.duration_us) * 1000,
        attributes=_attributes(line),
        events=[
            Span.Event(time_unix_nano=(began_us + at_us) * 1000, name=name) for name, at_us in line.steps
        ],
    )
    if line.status == _UNAVAILABLE:
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = line.reason
    return span


def _attributes(line: _Line) -> list[KeyValue]:
    asked, who = line.request, line.identity
    protocol, _, version = asked.protocol.partition("/")
    found = _texts(
        ("http.request.method", asked.method),
        ("server.address", asked.host),
        ("url.path", asked.path),
        ("client.address", asked.client_address),
        ("network.protocol.name", protocol.lower()),
        ("network.protocol.version", version),
        ("authz.outcome", line.outcome),
        ("authz.reason", line.reason),
        ("authz.detail", line.detail),
        ("authz.policy", line.policy),
        ("authz.rule", line.rule),
        ("authz.revision", line.revision),
        ("authz.decision_id", line.decision_id),
        ("authz.request_id", line.request_id),
        ("authz.identity.kind", who.kind),
        ("authz.identity.provider", who.provider),
        ("authz.subject", who.subject),
        ("authz.key_id", who.key_id),
        ("authz.customer", who.customer),
        ("authz.limits", ",".join(limit.name for limit in line.limits)),
        ("authz.limits.refused", ",".join(limit.name for limit in line.limits if limit.refused)),
    )
    if line.outcome != "allow":
        # Of an allow nobody here knows: the application has yet to answer.
        found.append(_number("http.response.status_code", line.status))
    if asked.size >= 0:
        found.append(_number("http.request.body.size", asked.size))
    return found


def _texts(*pairs: tuple[str, str]) -> list[KeyValue]:
    """Return attributes; what is empty is left out."""
    found = []
    for name, text in pairs:
        if text:
            pair = KeyValue(key=name)
            pair.value.string_value = text
            found.append(pair)
    return found


def _number(name: str, number: int) -> KeyValue:
    pair = KeyValue(key=name)
    pair.value.int_value = number
    return pair


def _us(when: datetime) -> int:
    past = when - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


def _id(text: str, size: int) -> bytes:
    """Return an id as bytes; b"" where it is none, which says that there is none."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return b""
    return data if len(data) == size else b""


def _rejected(answer: bytes) -> int:
    """Return how many spans a collector says that it has not taken."""
    return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
