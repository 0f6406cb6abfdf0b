"""What single headers say."""

from __future__ import annotations

import pytest

from authz.model.reason import Detail
from authz.request.facts import request_id, speaks_grpc, trace_id, upgrades

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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"01-{TRACE}-{PARENT}-01", TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", ""),
        (f"01-{TRACE}-{PARENT}-01more", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01", ""),
        (f" 00-{TRACE}-{PARENT}-01", ""),
        ("", ""),
    ],
)
def test_the_trace_id_comes_out_of_a_valid_traceparent(value: str, expected: str) -> None:
    assert trace_id({"traceparent": value.encode()}) == expected
    assert trace_id({}) == ""
