"""Records as OTLP logs: a LogRecord for each line, whose body is the line as it stands, less its newline.

The line is read only for what collectors sort by: time, severity, trace, a few attributes. One that cannot be
read goes all the same, with its body alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch, Refused, Rejected
from authz.shipping.errand import Access
from authz.shipping.otlp import OtlpClient

_BATCH_BYTES = 1024 * 1024  # of lines; a collector takes 4 MiB over gRPC unless told, with all around them
_SERVICE = "authz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLED = 1  # of the trace flags. Source: W3C Trace Context, 3.2.2.5

_INFO = (SeverityNumber.SEVERITY_NUMBER_INFO, "INFO")
_WARN = (SeverityNumber.SEVERITY_NUMBER_WARN, "WARN")
_ERROR = (SeverityNumber.SEVERITY_NUMBER_ERROR, "ERROR")
_SEVERITIES = {"deny": _WARN, "gap": _ERROR}


class _Line(Struct, frozen=True, gc=False):
    """What is needed of a line; everything else is skipped unread."""

    time: datetime | None = None
    kind: str = ""
    event: str = ""
    why: str = ""
    decision_id: str = ""
    outcome: str = ""
    reason: str = ""
    policy: str = ""
    rule: str = ""
    trace_id: str = ""
    span_id: str = ""
    sidecar: str = ""
    stream: str = ""
    seq: int = -1


_UNREAD = _Line()
_read = msgspec.json.Decoder(_Line).decode
# Attributes of our own have our name before theirs, as OpenTelemetry wants it.
_NAMES = ("decision_id", "outcome", "reason", "policy", "rule", "kind", "event", "why", "stream")


class OtlpLogSink:
    """One collector. See `delivery.Sink`."""

    batch_bytes = _BATCH_BYTES

    def __init__(self, address: SinkAddress, access: Access, name: str) -> None:
        self.name = name
        self._client = OtlpClient(address, access, "logs")
        self._reopen = False

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`.

        A collector may take a part. The specification forbids to send such a request again, so what it did
        not take is Rejected: counted, not repeated. Where it took nothing at all, that is Refused.
        """
        if self._reopen:
            self._reopen = False
            self._client.close()
        rejected = _rejected(self._client.export(request(batch)))
        if rejected >= batch.records > 0:
            raise Refused("it answers that it took none of them")
        if rejected > 0:
            raise Rejected(rejected)

    def reopen(self) -> None:
        """Connect anew at the next batch."""
        self._reopen = True

    def close(self) -> None:
        """See `delivery.Sink`."""
        self._client.close()


def request(batch: Batch) -> bytes:
    """Return the request that carries a batch: of one batch always the same bytes."""
    message = ExportLogsServiceRequest()
    part = message.resource_logs.add()
    scope = part.scope_logs.add()
    scope.scope.name = _SERVICE
    observed_ns = batch.time_us * 1000
    sidecar = ""
    for text in batch.lines.removesuffix(b"\n").split(b"\n"):
        line = _parsed(text)
        scope.log_records.append(_log_record(text, line, observed_ns))
        sidecar = sidecar or line.sidecar
    part.resource.attributes.append(_text("service.name", _SERVICE))
    if sidecar:
        part.resource.attributes.append(_text("service.instance.id", sidecar))
    data: bytes = message.SerializeToString()
    return data


def _parsed(text: bytes) -> _Line:
    try:
        return _read(text)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a line that is not as we write them
        return _UNREAD


def _log_record(text: bytes, line: _Line, observed_ns: int) -> LogRecord:
    number, word = _SEVERITIES.get(line.outcome or line.kind, _INFO)
    record = LogRecord(
        time_unix_nano=_ns(line.time) if line.time is not None else observed_ns,
        observed_time_unix_nano=observed_ns,
        severity_number=number,
        severity_text=word,
        event_name=f"{_SERVICE}.{line.kind or 'decision'}",
        attributes=_attributes(line),
    )
    record.body.string_value = text.decode("utf-8", "replace")
    if line.trace_id:
        record.trace_id = _id(line.trace_id, 16)
    if line.span_id:
        record.span_id = _id(line.span_id, 8)
        record.flags = _SAMPLED
    return record


def _attributes(line: _Line) -> list[KeyValue]:
    found = [_text(f"{_SERVICE}.{name}", value) for name in _NAMES if (value := getattr(line, name))]
    if line.seq >= 0:
        number = KeyValue(key=f"{_SERVICE}.seq")
        number.value.int_value = line.seq
        found.append(number)
    return found


def _text(name: str, value: str) -> KeyValue:
    pair = KeyValue(key=name)
    pair.value.string_value = value
    return pair


def _ns(when: datetime) -> int:
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    past = when - _EPOCH
    return max(0, ((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) * 1000)


def _id(text: str, size: int) -> bytes:
    """Return an id as bytes; b"" where it is none, which says that there is none."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return b""
    return data if len(data) == size else b""


def _rejected(answer: bytes) -> int:
    """Return how many records a collector says that it has not taken.

    An answer that is no such message was a yes all the same: gRPC and HTTP have said so.
    """
    try:
        count: int = ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records
    except DecodeError:
        return 0
    return max(0, count)
