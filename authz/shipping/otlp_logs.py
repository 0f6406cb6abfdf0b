"""Records as OTLP logs: a LogRecord for each line, whose body is the line as it stands, less its newline.

The line is read only for what collectors sort by: time, severity, trace, a few attributes. One that cannot be
read goes all the same, with its body alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch
from authz.shipping.errand import Access
from authz.shipping.otlp import OtlpSink

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
# Attributes that many lines share. Those of our own have our name before theirs, as OpenTelemetry wants it.
_ALIKE = ("outcome", "reason", "policy", "rule", "kind", "event", "why", "stream")
_FORMS_MAX = 1024  # 1 KiB each; beyond, all are made anew


class OtlpLogSink(OtlpSink):
    """One collector. See `delivery.Sink`."""

    batch_bytes = _BATCH_BYTES

    def __init__(self, address: SinkAddress, access: Access, name: str) -> None:
        super().__init__(address, access, name, "logs")
        self._requests = Requests()

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`."""
        self.hand_over(self._requests.request(batch), batch.records, _rejected)


class Requests:
    """Writes requests. One thread uses it."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str | bool, ...], _Form] = {}

    def request(self, batch: Batch) -> bytes:
        """Return the request that carries a batch: of one batch always the same bytes."""
        message = ExportLogsServiceRequest()
        part = message.resource_logs.add()
        scope = part.scope_logs.add()
        scope.scope.name = _SERVICE
        observed_ns = batch.time_us * 1000
        sidecar = ""
        for text in batch.lines.split(b"\n")[:-1]:
            line = _parsed(text)
            scope.log_records.append(self._form(line).filled(text, line, observed_ns))
            sidecar = sidecar or line.sidecar
        part.resource.attributes.append(_text("service.name", _SERVICE))
        if sidecar:
            part.resource.attributes.append(_text("service.instance.id", sidecar))
        data: bytes = message.SerializeToString()
        return data

    def _form(self, line: _Line) -> _Form:
        alike = (
            line.outcome, line.reason, line.policy, line.rule, line.kind, line.event, line.why, line.stream,
            bool(line.decision_id), line.seq >= 0,
        )  # fmt: skip
        form = self._forms.get(alike)
        if form is None:
            if len(self._forms) >= _FORMS_MAX:
                self._forms.clear()
            form = self._forms[alike] = _Form(line)
        return form


class _Form:
    """A LogRecord of lines that are alike, less what differs: filling it in takes a third of making one."""

    def __init__(self, line: _Line) -> None:
        number, word = _SEVERITIES.get(line.outcome or line.kind, _INFO)
        self._record = LogRecord(
            severity_number=number,
            severity_text=word,
            event_name=f"{_SERVICE}.{line.kind or 'decision'}",
            attributes=[
                _text(f"{_SERVICE}.{name}", value) for name in _ALIKE if (value := getattr(line, name))
            ],
        )
        self._body = self._record.body
        self._decision_id, self._seq = KeyValue(), KeyValue()
        if line.decision_id:
            self._decision_id = self._record.attributes.add(key=f"{_SERVICE}.decision_id")
        if line.seq >= 0:
            self._seq = self._record.attributes.add(key=f"{_SERVICE}.seq")

    def filled(self, text: bytes, line: _Line, observed_ns: int) -> LogRecord:
        """Return it, filled in: good until the next call."""
        record = self._record
        record.time_unix_nano = _ns(line.time) if line.time is not None else observed_ns
        record.observed_time_unix_nano = observed_ns
        self._body.string_value = text.decode("utf-8", "replace")
        self._decision_id.value.string_value = line.decision_id
        self._seq.value.int_value = line.seq
        record.trace_id = _id(line.trace_id, 16)
        record.span_id = _id(line.span_id, 8)
        record.flags = _SAMPLED if record.span_id else 0
        return record


def _parsed(text: bytes) -> _Line:
    try:
        return _read(text)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a line that is not as we write them
        return _UNREAD


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
    """Return how many records a collector says that it has not taken."""
    return int(ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records)
