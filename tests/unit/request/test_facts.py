"""What single headers say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.model.reason import Detail
from authz.model.trace import UNTRACED, TraceParent
from authz.request.facts import request_id, speaks_grpc, trace_parent, upgrades

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"websocket", ("websocket",)),
        (b"WebSocket", ("websocket",)),
        (b"websocket, IRC/6.9 ,\tx", ("websocket", "irc/6.9", "x")),
        (b"", ()),
        (b" , ", ()),
    ],
)
def test_the_protocols_asked_for_are_listed_in_lower_case(value: bytes, expected: tuple[str, ...]) -> None:
    assert upgrades({"upgrade": value}) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"h2c",
        b"H2C",
        b"websocket, h2c",
        b"h2c/1",
        b"h2c;a",
        b"web socket",
        b"a/b/c",
        "é".encode(),
        b"a," * 600,
    ],
)
def test_h2c_and_what_cannot_be_read_is_refused(value: bytes) -> None:
    assert upgrades({"upgrade": value}) is Detail.UPGRADE_REFUSED


def test_no_header_asks_for_nothing() -> None:
    assert upgrades({}) == ()


@pytest.mark.parametrize(
    ("method", "value", "expected"),
    [
        ("POST", b"application/grpc", True),
        ("POST", b"application/grpc+proto", True),
        ("POST", b"Application/GRPC+json; charset=utf-8", True),
        ("POST", b"application/grpc ; x=y", True),
        ("POST", b" application/grpc;x", True),
        ("POST", b"application/grpc-web", False),
        ("POST", b"application/grpc-web+proto", False),
        ("POST", b"application/grpcx", False),
        ("POST", b"text/plain; x=application/grpc", False),
        ("POST", b"application/json", False),
        ("GET", b"application/grpc", False),
    ],
)
def test_grpc_is_post_with_its_content_type(method: str, value: bytes, expected: bool) -> None:
    assert speaks_grpc(method, {"content-type": value}) is expected
    assert speaks_grpc(method, {}) is False


@pytest.mark.parametrize("value", [b"application/grpc,text/plain", b"text/plain,Application/grpc"])
def test_two_content_types_of_which_one_is_grpc_are_ambiguous(value: bytes) -> None:
    assert speaks_grpc("POST", {"content-type": value}) is Detail.HEADER_AMBIGUOUS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"abc-1", "abc-1"),
        (b"x" * 200, "x" * 128),
        (b"", ""),
        (b"a\x1bb", ""),
        (b"\xc3\xa9", ""),
        (b"a\nb", ""),
    ],
)
def test_a_request_id_is_printable_and_short(value: bytes, expected: str) -> None:
    assert request_id({"x-request-id": value}) == expected
    assert request_id({}) == ""


SAMPLED, UNSAMPLED = TraceParent(TRACE, PARENT, sampled=True), TraceParent(TRACE, PARENT, sampled=False)
OTHER = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", SAMPLED),
        (f"00-{TRACE}-{PARENT}-00", UNSAMPLED),
        (f"00-{TRACE}-{PARENT}-02", UNSAMPLED),  # of the flags only the lowest bit has a meaning
        (f"00-{TRACE}-{PARENT}-ff", SAMPLED),
        (f"00-{TRACE}-{PARENT}-10", UNSAMPLED),
        (f"01-{TRACE}-{PARENT}-01", SAMPLED),
        (f"cc-{TRACE}-{PARENT}-01-more", SAMPLED),
        (f"cc-{TRACE}-{PARENT}-01-", SAMPLED),
        (f"00-{TRACE}-{PARENT}-01-more", UNTRACED),
        (f"00-{TRACE}-{PARENT}-01-", UNTRACED),
        (f"01-{TRACE}-{PARENT}-01more", UNTRACED),
        (f"ff-{TRACE}-{PARENT}-01", UNTRACED),
        (f"00-{'0' * 32}-{PARENT}-01", UNTRACED),
        (f"00-{TRACE}-{'0' * 16}-01", UNTRACED),
        (f"00-{TRACE.upper()}-{PARENT}-01", UNTRACED),
        (f"00-{TRACE}-{PARENT.upper()}-01", UNTRACED),
        (f"00-{TRACE}-{PARENT}-0A", UNTRACED),
        (f"00-{TRACE}-{PARENT}-1", UNTRACED),
        (f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01", UNTRACED),  # several headers, joined
        (f"cc-{TRACE}-{PARENT}-01,cc-{TRACE}-{PARENT}-01", UNTRACED),
        (f" 00-{TRACE}-{PARENT}-01", UNTRACED),
        (f"00-{TRACE}-{PARENT}-01\n", UNTRACED),
        ("00-" + "0" * 10_240, UNTRACED),
        (f"cc-{TRACE}-{PARENT}-01-" + "x" * 10_240, SAMPLED),
        ("é" * 55, UNTRACED),
        ("", UNTRACED),
    ],
)
def test_a_traceparent_is_believed_where_it_is_valid(value: str, expected: TraceParent) -> None:
    assert trace_parent({"traceparent": value.encode()}) == expected
    assert trace_parent({}, value) == expected


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[0-9a-f-]{50,70}", fullmatch=True)))
def test_whatever_is_sent_as_a_traceparent_gives_whole_ids_or_none(text: str) -> None:
    found = trace_parent({"traceparent": text.encode("utf-8", "surrogatepass")}, text)
    if found is not UNTRACED:
        assert re.fullmatch("[0-9a-f]{32}", found.trace_id)
        assert re.fullmatch("[0-9a-f]{16}", found.span_id)
        assert int(found.trace_id, 16) > 0
        assert int(found.span_id, 16) > 0
        assert text.split("-")[1:3] == [found.trace_id, found.span_id]


def test_without_a_traceparent_there_is_no_trace() -> None:
    assert trace_parent({}) is UNTRACED


def test_the_span_that_our_envoy_asks_with_counts_before_what_the_client_sent() -> None:
    assert trace_parent({"traceparent": OTHER.encode()}, f"00-{TRACE}-{PARENT}-01") == SAMPLED
    # A client that wants to be traced is not, where Envoy says no.
    assert trace_parent({"traceparent": f"00-{TRACE}-{PARENT}-01".encode()}, OTHER).sampled is False


def test_what_came_with_the_call_and_is_not_valid_says_nothing() -> None:
    assert trace_parent({"traceparent": f"00-{TRACE}-{PARENT}-01".encode()}, "\udcff garbage") == SAMPLED
