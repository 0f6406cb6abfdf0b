"""Traces through the real Envoy: whose child our span is, and who decides what is kept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from grpc import StatusCode
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from authz.proxy.process import http_get
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.otlp_receiver import Answer, Receiver, otlp_receiver
from tests.support.proxy import Live, another_envoy, eventually, live
from tests.support.traced import tracing_envoy

pytestmark = pytest.mark.e2e

TRANSPORTS = ("native",)  # that every front hands on whose span asks is in tests/contract/test_fronts.py

TRACE, CLIENTS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MOST_PER_S = 100
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CLIENTS}-01", f"00-{TRACE}-{CLIENTS}-00"


class Traced(NamedTuple):
    """A scene whose Envoy and whose sidecar send their spans to one receiver."""

    app: Live
    receiver: Receiver
    unasked: int  # port of an Envoy that traces, and keeps nothing
    silent: int  # port of one that does not trace

    def ask(self, *headers: tuple[str, str], port: int = 0, path: str = "/public/a") -> dict[str, Any]:
        """Send a request; return its record, which follows the answer."""
        before = len(self._lines())
        self.app.send("GET", path, *headers, port=port)
        assert eventually(lambda: len(self._lines()) > before)
        record: dict[str, Any] = json.loads(self._lines()[-1])
        return record

    def ours(self, record: dict[str, Any]) -> Span:
        """Return the span of a record, once it is there."""
        assert eventually(lambda: record["span_id"] in self.spans())
        return self.spans()[record["span_id"]]

    def spans(self) -> dict[str, Span]:
        """Return every span that has arrived, by its id."""
        return {span.span_id.hex(): span for span in self.receiver.spans()}

    def counted(self) -> dict[str, int]:
        """Return what became of sampled checks so far."""
        _, page = http_get(self.app.stage.ops_port, "/metrics") or (0, b"")
        found = re.findall(r'^authz_traces_total\{result="(\w+)"\} (\S+)$', page.decode(), re.MULTILINE)
        return {"traced": 0, "over_limit": 0} | {result: int(float(number)) for result, number in found}

    def _lines(self) -> list[str]:
        return self.app.stage.records.read_text().splitlines()


@pytest.fixture(scope="module")
def traced(transport: str) -> Iterator[Traced]:
    with otlp_receiver() as receiver:
        edit = tracing_envoy(receiver.grpc_port, 100)
        env = {
            "AUTHZ_TRACE_SINK": receiver.grpc_url,
            "AUTHZ_TRACE_SERVICE": "door",
            "AUTHZ_TRACE_MAX_PER_S": str(MOST_PER_S),
        }
        with (
            live(env=env, edit=edit) as app,
            another_envoy(app, "unasked", edit=tracing_envoy(receiver.grpc_port, 0)) as unasked,
            another_envoy(app, "silent") as silent,
        ):
            yield Traced(app, receiver, unasked, silent)


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_our_span_is_the_child_of_the_call_that_envoy_made_in_its_own_trace(traced: Traced) -> None:
    record = traced.ask()
    span = traced.ours(record)
    assert span.trace_id.hex() == record["trace_id"]
    assert span.parent_span_id.hex() == record["parent_span_id"]
    assert eventually(lambda: record["parent_span_id"] in traced.spans())
    call = traced.spans()[record["parent_span_id"]]
    assert (call.trace_id, call.kind) == (span.trace_id, Span.SPAN_KIND_CLIENT)
    assert "Authorization.Check" in call.name
    assert eventually(lambda: call.parent_span_id.hex() in traced.spans())
    ingress = traced.spans()[call.parent_span_id.hex()]
    assert (ingress.kind, ingress.parent_span_id) == (Span.SPAN_KIND_SERVER, b"")


def test_our_span_lies_within_the_call_by_the_clock(traced: Traced) -> None:
    record = traced.ask()
    span = traced.ours(record)
    assert eventually(lambda: record["parent_span_id"] in traced.spans())
    call = traced.spans()[record["parent_span_id"]]
    assert call.start_time_unix_nano < span.start_time_unix_nano
    assert span.start_time_unix_nano < span.end_time_unix_nano < call.end_time_unix_nano
    times = [event.time_unix_nano for event in span.events]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (span.start_time_unix_nano, span.end_time_unix_nano)


def test_a_span_says_what_was_decided(traced: Traced) -> None:
    record = traced.ask(("x-api-key", "wrong"), path="/items/1")
    span = traced.ours(record)
    assert (span.name, span.kind) == ("authz check", Span.SPAN_KIND_SERVER)
    said = attributes(span)
    assert said["http.request.method"] == "GET"
    assert said["server.address"] == "app.test"
    assert said["url.path"] == "/items/1"
    assert said["http.response.status_code"] == record["status"] == 401
    assert said["authz.reason"] == record["reason"]
    assert said["authz.decision_id"] == record["decision_id"]
    assert [event.name for event in span.events] == [name for name, _ in record["steps"]]
    resources = [
        {pair.key: pair.value.string_value for pair in part.resource.attributes}
        for request in traced.receiver.requests()
        for part in request.message.resource_spans
    ]
    assert any(one["service.name"] == "door" and "service.instance.id" in one for one in resources)


def test_a_client_that_is_traced_has_us_in_its_trace(traced: Traced) -> None:
    record = traced.ask(("traceparent", SAMPLED))
    assert record["trace_id"] == TRACE
    assert record["parent_span_id"] != CLIENTS  # Envoy's spans are between
    assert traced.ours(record).trace_id.hex() == TRACE


def test_a_client_that_is_not_sampled_costs_no_span(traced: Traced) -> None:
    record = traced.ask(("traceparent", UNSAMPLED))
    assert record["trace_id"] == TRACE
    assert "span_id" not in record


def test_a_client_that_wants_to_be_traced_is_not_where_envoy_says_no(traced: Traced) -> None:
    record = traced.ask(("traceparent", SAMPLED), port=traced.unasked)
    assert record["trace_id"] == TRACE
    assert "span_id" not in record
    assert "span_id" not in traced.ask(port=traced.unasked)


def test_behind_an_envoy_that_does_not_trace_the_client_is_believed(traced: Traced) -> None:
    record = traced.ask(("traceparent", SAMPLED), port=traced.silent)
    assert (record["trace_id"], record["parent_span_id"]) == (TRACE, CLIENTS)
    assert traced.ours(record).parent_span_id.hex() == CLIENTS
    assert "trace_id" not in traced.ask(port=traced.silent)


@pytest.mark.parametrize("bad", ["x" * 10_240, "00-" + "0" * 32 + "-" + CLIENTS + "-01", f"{SAMPLED}-more"])
def test_garbage_begins_no_trace_of_ours(traced: Traced, bad: str) -> None:
    for port in (traced.silent, traced.app.stage.port):  # Envoy 1.40 begins none of its own, either
        record = traced.ask(("traceparent", bad), port=port)
        assert not {"trace_id", "span_id"} & record.keys()


def test_several_traceparents_are_none(traced: Traced) -> None:
    record = traced.ask(("traceparent", SAMPLED), ("traceparent", SAMPLED), port=traced.silent)
    assert not {"trace_id", "span_id"} & record.keys()


def test_a_collector_that_is_away_delays_no_answer_and_gets_the_span_later(traced: Traced) -> None:
    traced.receiver.answer(Answer(code=StatusCode.UNAVAILABLE))
    record = traced.ask()
    traced.ours(record)  # offered, and turned away
    assert record["outcome"] == "allow"
    traced.receiver.answer(Answer())

    def offered() -> int:
        return sum(span.span_id.hex() == record["span_id"] for span in traced.receiver.spans())

    assert eventually(lambda: offered() > 1)


def test_of_a_flood_of_sampled_requests_no_more_than_the_bound_are_traced(traced: Traced) -> None:
    """Whoever may send requests may set the flag: it buys no more spans, and no other answer."""
    stage = traced.app.stage
    before = traced.counted()
    payload = check_request(
        host="app.test", path="/public/a", headers=[("traceparent", SAMPLED)], time_us=1_780_000_000_000_000
    )
    began_s = time.monotonic()
    with client(f"unix:{stage.scene.directory}/authz.sock") as ask:
        answers = [ask.future(payload, timeout=30) for _ in range(400)]  # type: ignore[attr-defined] # the library's
        assert all(read(answer.result()).status.code == 0 for answer in answers)
    took_s = time.monotonic() - began_s
    after = traced.counted()
    spans, over = (after[result] - before[result] for result in ("traced", "over_limit"))
    assert spans + over == 400
    assert spans <= MOST_PER_S * (took_s + 1)  # all 400 within three seconds, if nothing bounded them
