"""Spans, made of the records of traced checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from authz import __version__
from authz.model.decision import Answered
from authz.model.reason import Detail, Reason
from authz.model.request import Unreadable
from authz.model.sink import parse_sink
from authz.model.trace import Steps
from authz.record.entry import FixedFields, encode
from authz.record.notice import Why, event_line, gap_line
from authz.shipping.delivery import Refused, Rejected, Unavailable
from authz.shipping.errand import Access
from authz.shipping.otlp_traces import OtlpTraceSink, request
from tests.support.answers import TIME_US, allowed, refused, unreadable
from tests.support.answers import request as asked
from tests.support.batches import STREAM, batch_of, record_line, records
from tests.support.otlp_receiver import Answer, Receiver, otlp_receiver

TRACE, SPAN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "1" * 16, "00f067aa0ba902b7"
FIXED = FixedFields("pod-a", "0123456789ab", stream=STREAM)
DECIDED_US, REPLIED_US = 40, 50


def traced(answered: Answered, span_id: str = SPAN) -> Answered:
    """Return a check as it is when it was traced."""
    trace = Steps(TRACE, span_id, PARENT, 0, iter(range(10, 40, 10)).__next__)
    for step in ("read", "candidates", "judged"):
        trace.step(step)
    trace.end(DECIDED_US, REPLIED_US)
    return answered._replace(trace=trace, duration_us=REPLIED_US)


def line(answered: Answered, seq: int = 1) -> bytes:
    return encode(answered, FIXED, seq)


ALLOWED, REFUSED = line(traced(allowed())), line(traced(refused(Reason.CREDENTIAL_INVALID)))


def message(lines: bytes) -> Any:
    data, _ = request(lines, "door")
    return ExportTraceServiceRequest.FromString(data)


def only(lines: bytes) -> Span:
    (resource,) = message(lines).resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    found: Span = span
    return found


def attributes(pairs: Any) -> dict[str, str | int]:
    return {
        pair.key: pair.value.string_value if pair.value.HasField("string_value") else pair.value.int_value
        for pair in pairs
    }


def test_a_span_belongs_to_the_trace_and_is_the_child_of_whoever_asked() -> None:
    span = only(ALLOWED)
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN, PARENT)
    assert (span.name, span.kind) == ("authz check", Span.SPAN_KIND_SERVER)
    assert span.flags == 0x301  # sampled; its parent is in another process


def test_a_span_lasts_from_taking_the_call_to_the_reply() -> None:
    span = only(ALLOWED)
    began_ns = (TIME_US - DECIDED_US) * 1000  # a record's time is that of the decision
    assert span.start_time_unix_nano == began_ns
    assert span.end_time_unix_nano == began_ns + REPLIED_US * 1000
    assert [(event.name, event.time_unix_nano - began_ns) for event in span.events] == [
        ("received", 0),
        ("read", 10_000),
        ("candidates", 20_000),
        ("judged", 30_000),
        ("decided", 40_000),
        ("replied", 50_000),
    ]


def test_what_was_asked_and_decided_is_in_its_attributes() -> None:
    assert attributes(only(REFUSED).attributes) == {
        "http.request.method": "GET",
        "http.request.body.size": 0,
        "http.response.status_code": 401,
        "server.address": "items.example.com",
        "url.path": "/api/v1/items/5",
        "client.address": "203.0.113.7",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "authz.outcome": "deny",
        "authz.reason": "credential_invalid",
        "authz.revision": "0123456789ab",
        "authz.decision_id": "0190f0f0-1234-7123-8123-123456789abc",
        "authz.request_id": "3f0b8f6a-58d7-4e3c-9f5e-0a1b2c3d4e5f",
        "authz.identity.kind": "anonymous",
    }


def test_who_asked_and_what_was_spent_is_as_in_the_record() -> None:
    said = attributes(only(ALLOWED).attributes)
    assert said["authz.customer"] == "acme"
    assert said["authz.key_id"] == said["authz.subject"] == "k7Qm2VxP0aZs"
    assert (said["authz.policy"], said["authz.rule"]) == ("items", "read")
    assert said["authz.limits"] == "per-key,per-customer"
    assert "http.response.status_code" not in said  # the application has yet to answer


def test_no_attribute_says_what_the_record_does_not() -> None:
    record = json.loads(ALLOWED)

    def texts(node: Any) -> Iterator[str]:
        if isinstance(node, dict | list):
            for child in node.values() if isinstance(node, dict) else node:
                yield from texts(child)
        else:
            yield str(node)

    known = set(texts(record)) | {"http", "1.1", "per-key,per-customer"}
    assert {str(value) for value in attributes(only(ALLOWED).attributes).values()} <= known


def test_only_our_own_failure_is_an_error() -> None:
    assert only(REFUSED).status.code == Status.STATUS_CODE_UNSET
    ours = refused(Reason.STORE_UNAVAILABLE)._replace(status=503)
    assert only(line(traced(ours))).status.code == Status.STATUS_CODE_ERROR
    assert only(line(traced(ours))).status.message == "store_unavailable"


def test_a_request_that_could_not_be_read_has_a_span_too() -> None:
    odd = unreadable(Unreadable(Detail.PATH_AMBIGUOUS, method="GET", path="/a//b", host="h"))
    said = attributes(only(line(traced(odd))).attributes)
    assert (said["authz.detail"], said["url.path"], said["http.response.status_code"]) == (
        *("path_ambiguous", "/a//b"),
        400,
    )


def test_the_resource_is_the_sidecar_under_the_operators_name() -> None:
    (part,) = message(ALLOWED).resource_spans
    assert attributes(part.resource.attributes) == {
        "service.name": "door",
        "service.instance.id": "pod-a",
        "service.version": __version__,
    }


def test_lines_without_spans_are_passed_over() -> None:
    odd = [
        gap_line("pod-a", STREAM, 1, 5, 3, Why.QUEUE_FULL, TIME_US),
        event_line("started", "pod-a", STREAM, 9, "r", {"span_id": "x"}, TIME_US),
        b'{"identity":{"labels":{"span_id":"' + SPAN.encode() + b'"}}}\n',
        line(allowed()),
        b'{"span_id":"cut off\n',
        b'{"span_id":"no time"}\n',
        b'\xff{"span_id":"x"}\n',
        b"\n",
    ]
    assert request(b"".join(odd), "door") == (b"", 0)
    data, count = request(b"".join([*odd, ALLOWED, *odd, REFUSED, *odd]), "door")
    spans = ExportTraceServiceRequest.FromString(data).resource_spans[0].scope_spans[0].spans
    assert count == 2
    assert [attributes(span.attributes)["authz.outcome"] for span in spans] == ["allow", "deny"]
    assert request(ALLOWED.removesuffix(b"\n"), "door")[1] == 1
    assert request(b"", "door") == (b"", 0)


def test_what_a_client_writes_never_looks_like_a_span() -> None:
    hostile = asked(path='/","span_id":"' + SPAN)._replace(request_id='","span_id":"1111111111111111')
    assert request(line(allowed(hostile)), "door") == (b"", 0)


def test_ids_that_are_none_are_left_out() -> None:
    whole = ALLOWED.decode()
    span = only(whole.replace(PARENT, "").encode())
    assert span.parent_span_id == b""
    assert only(whole.replace(TRACE, "zz").encode()).trace_id == b""


# --- a collector


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared: Receiver) -> Receiver:
    shared.clear()
    return shared


@pytest.fixture(params=["grpc", "http"])
def sink(receiver: Receiver, request: pytest.FixtureRequest) -> Iterator[OtlpTraceSink]:
    url = receiver.grpc_url if request.param == "grpc" else receiver.http_url
    made = OtlpTraceSink(parse_sink(url), Access(timeout_s=5.0), "traces", "door")
    yield made
    made.close()


def test_spans_arrive(receiver: Receiver, sink: OtlpTraceSink) -> None:
    sink.deliver(batch_of(record_line(1), ALLOWED, record_line(3), REFUSED))
    assert [span.name for span in receiver.spans()] == ["authz check"] * 2


def test_a_batch_without_spans_asks_nobody(receiver: Receiver, sink: OtlpTraceSink) -> None:
    receiver.answer(Answer(code=grpc.StatusCode.UNAVAILABLE, http=503))
    sink.deliver(records(1, 50))
    assert receiver.requests() == []


def test_a_collector_that_is_not_well_is_asked_again(receiver: Receiver, sink: OtlpTraceSink) -> None:
    receiver.answer(Answer(code=grpc.StatusCode.UNAVAILABLE, http=503))
    with pytest.raises(Unavailable):
        sink.deliver(batch_of(ALLOWED))
    receiver.answer(Answer())
    sink.reopen()
    sink.deliver(batch_of(ALLOWED))
    assert receiver.spans()[-1].span_id.hex() == SPAN


def test_spans_that_it_does_not_take_are_told(receiver: Receiver, sink: OtlpTraceSink) -> None:
    receiver.answer(Answer(rejected=1))
    with pytest.raises(Rejected, match="all but 1"):
        sink.deliver(batch_of(ALLOWED, REFUSED))
    with pytest.raises(Refused, match="none of them"):
        sink.deliver(batch_of(ALLOWED, record_line(2)))


def test_a_yes_that_cannot_be_read_is_a_yes(receiver: Receiver) -> None:
    receiver.answer(Answer(raw=b"\xff\xff"))
    sink = OtlpTraceSink(parse_sink(receiver.http_url), Access(timeout_s=5.0), "traces")
    sink.deliver(batch_of(ALLOWED))
    sink.close()


def test_a_collector_that_is_gone_costs_a_try() -> None:
    with otlp_receiver() as gone:
        urls = [gone.grpc_url, gone.http_url]
    for url in urls:
        sink = OtlpTraceSink(parse_sink(url), Access(timeout_s=2.0), "traces")
        with pytest.raises(Unavailable):
            sink.deliver(batch_of(ALLOWED))
        sink.close()
