"""Records as OTLP logs: each line whole, and what collectors sort by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from authz.model.sink import parse_sink
from authz.record.notice import Why, event_line, gap_line
from authz.shipping.delivery import Batch, Refused, Rejected, Unavailable
from authz.shipping.errand import Access
from authz.shipping.otlp_logs import _FORMS_MAX, OtlpLogSink, Requests
from tests.support.batches import STREAM, TIME_US, batch_of, record_line, records
from tests.support.otlp_receiver import Answer, Receiver, otlp_receiver

TRACED = (
    b'{"v":1,"time":"2026-11-18T11:06:40.123456Z","decision_id":"019aaaaa-bbbb-7ccc-8ddd-000000000001",'
    b'"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","sidecar":"pod-a",'
    b'"stream":"0019a1b2c3d40001","seq":7,"outcome":"deny","reason":"rate_limited","policy":"items",'
    b'"rule":"read","request":{"path":"/a\\u2028b"}}\n'
)


def _message(*lines: bytes) -> Any:
    return ExportLogsServiceRequest.FromString(Requests().request(batch_of(*lines)))


def _one(line: bytes) -> LogRecord:
    record: LogRecord = _message(line).resource_logs[0].scope_logs[0].log_records[0]
    return record


def _attributes(record: LogRecord) -> dict[str, str | int]:
    return {
        pair.key: pair.value.string_value if pair.value.HasField("string_value") else pair.value.int_value
        for pair in record.attributes
    }


# --- what a line becomes


def test_a_body_is_the_line_to_the_byte_less_its_newline() -> None:
    lines = [record_line(1), TRACED, b'{"v":1,"odd":"\\u0000 \\" \\\\"}\n', b"no JSON \xc3\xa4\n"]
    (scope,) = _message(*lines).resource_logs[0].scope_logs
    assert [record.body.string_value.encode() + b"\n" for record in scope.log_records] == lines


def test_a_decision_says_what_collectors_sort_by() -> None:
    record = _one(TRACED)
    assert record.time_unix_nano == 1_795_000_000_123_456_000
    assert record.observed_time_unix_nano == TIME_US * 1000
    assert (record.severity_text, record.severity_number) == ("WARN", 13)
    assert record.event_name == "authz.decision"
    assert record.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert record.span_id.hex() == "00f067aa0ba902b7"
    assert record.flags == 1
    assert _attributes(record) == {
        "authz.decision_id": "019aaaaa-bbbb-7ccc-8ddd-000000000001",
        "authz.outcome": "deny",
        "authz.reason": "rate_limited",
        "authz.policy": "items",
        "authz.rule": "read",
        "authz.stream": STREAM,
        "authz.seq": 7,
    }


def test_an_allow_is_information() -> None:
    record = _one(record_line(1))
    assert (record.severity_text, record.severity_number) == ("INFO", 9)
    assert (record.trace_id, record.span_id, record.flags) == (b"", b"", 0)


def test_a_gap_is_an_error_and_says_why() -> None:
    record = _one(gap_line("pod-a", STREAM, 3, 9, 7, Why.QUEUE_FULL, TIME_US))
    assert (record.severity_text, record.event_name) == ("ERROR", "authz.gap")
    assert _attributes(record) == {"authz.kind": "gap", "authz.why": "queue_full", "authz.stream": STREAM}


def test_an_event_says_what_happened() -> None:
    record = _one(event_line("reload", "pod-a", STREAM, 4, "0123456789ab", {}, TIME_US))
    assert (record.severity_text, record.event_name) == ("INFO", "authz.event")
    assert _attributes(record)["authz.event"] == "reload"
    assert _attributes(record)["authz.seq"] == 4


def test_a_batch_says_who_sends_it() -> None:
    resource = _message(record_line(1), record_line(2)).resource_logs[0].resource
    said = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert said == {"service.name": "authz", "service.instance.id": "pod-a"}


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON\n",
        b"{}\n",
        b"[]\n",
        b'{"v":1,"seq":"seven"}\n',
        b'{"v":1,"time":"yesterday"}\n',
        b'{"v":1,"time":"9999-99-99T00:00:00Z"}\n',
        b'{"v":1,"trace_id":7}\n',
        b"\xff\xfe\n",
        b"\n",
    ],
)
def test_a_line_that_cannot_be_read_goes_with_its_body_alone(line: bytes) -> None:
    record = _one(line)
    assert record.body.string_value == line[:-1].decode("utf-8", "replace")
    assert record.time_unix_nano == TIME_US * 1000
    assert _attributes(record) == {}


@pytest.mark.parametrize("name", ["trace_id", "span_id"])
@pytest.mark.parametrize("value", ["", "xyz", "00", "0" * 31, "0" * 34])
def test_an_id_that_is_none_is_left_out(name: str, value: str) -> None:
    record = _one(f'{{"v":1,"{name}":"{value}"}}\n'.encode())
    assert (record.trace_id, record.span_id) == (b"", b"")


def test_times_before_1970_and_without_a_zone_are_times() -> None:
    assert _one(b'{"v":1,"time":"1969-01-01T00:00:00Z"}\n').time_unix_nano == 0
    assert _one(b'{"v":1,"time":"1970-01-01T00:00:01"}\n').time_unix_nano == 1_000_000_000


def test_of_one_batch_it_is_the_same_request_each_time() -> None:
    requests = Requests()
    first = requests.request(records(1, 20))
    requests.request(batch_of(TRACED, b"no JSON\n"))
    assert requests.request(records(1, 20)) == first == Requests().request(records(1, 20))


def test_what_one_line_says_never_stands_in_the_next() -> None:
    untraced = re.sub(rb'"(trace|span)_id":"[0-9a-f]+",|"time":"[^"]*",', b"", TRACED)
    _, second = _message(TRACED, untraced).resource_logs[0].scope_logs[0].log_records
    assert (second.trace_id, second.span_id, second.flags) == (b"", b"", 0)
    assert second.time_unix_nano == TIME_US * 1000
    bare = b'{"v":1,"outcome":"deny","reason":"rate_limited","policy":"items","rule":"read","stream":"%s"}\n'
    _, second = _message(TRACED, bare % STREAM.encode()).resource_logs[0].scope_logs[0].log_records
    assert not {"authz.decision_id", "authz.seq"} & {*_attributes(second)}


def test_more_kinds_of_lines_than_are_remembered_are_written_alike() -> None:
    requests = Requests()
    lines = [b'{"v":1,"rule":"rule-%d"}\n' % number for number in range(2 * _FORMS_MAX + 1)]
    message = ExportLogsServiceRequest.FromString(requests.request(batch_of(*lines)))
    found = message.resource_logs[0].scope_logs[0].log_records
    assert [_attributes(record)["authz.rule"] for record in found] == [
        f"rule-{number}" for number in range(len(lines))
    ]
    assert len(requests._forms) <= _FORMS_MAX


# --- delivering


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    server.clear()
    return server


Deliver = Callable[[Batch], None]


@pytest.fixture(params=["grpc", "http"])
def deliver(request: pytest.FixtureRequest, receiver: Receiver) -> Iterator[Deliver]:
    url = receiver.grpc_url if request.param == "grpc" else receiver.http_url
    sink = OtlpLogSink(parse_sink(url), Access(timeout_s=20), "otlp")
    yield sink.deliver
    sink.close()


def _bodies(receiver: Receiver) -> bytes:
    return b"".join(record.body.string_value.encode() + b"\n" for record in receiver.log_records())


def test_batches_arrive_in_order_and_whole(deliver: Deliver, receiver: Receiver) -> None:
    deliver(records(1, 3000))
    deliver(records(3001, 3002))
    assert _bodies(receiver) == records(1, 3002).lines


def test_records_that_a_collector_does_not_take_are_counted_and_not_sent_again(
    deliver: Deliver, receiver: Receiver
) -> None:
    receiver.answer(Answer(rejected=3))
    with pytest.raises(Rejected) as told:
        deliver(records(1, 10))
    assert told.value.count == 3


def test_a_collector_that_takes_none_refuses(deliver: Deliver, receiver: Receiver) -> None:
    receiver.answer(Answer(rejected=10))
    with pytest.raises(Refused) as told:
        deliver(records(1, 10))
    assert not isinstance(told.value, Rejected)


def test_a_collector_that_is_away_is_an_outage(deliver: Deliver, receiver: Receiver) -> None:
    import grpc

    receiver.answer(Answer(code=grpc.StatusCode.UNAVAILABLE, http=503))
    with pytest.raises(Unavailable):
        deliver(records(1, 2))


def test_reopen_connects_anew(receiver: Receiver) -> None:
    sink = OtlpLogSink(parse_sink(receiver.http_url), Access(timeout_s=20), "otlp")
    for seq in (1, 2):
        sink.deliver(records(seq, seq))
        sink.reopen()
    sink.deliver(records(3, 3))
    sink.close()
    assert _bodies(receiver) == records(1, 3).lines
