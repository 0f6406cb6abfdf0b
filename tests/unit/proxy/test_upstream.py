from __future__ import annotations

import io
import json
import socket

import pytest

from authz.proxy.client import request_bytes, send_raw
from authz.proxy.upstream import Seen, Upstream, read_request


def test_a_request_is_read_as_it_was_spelled() -> None:
    raw = b"GET //a?b=c HTTP/1.1\r\nX-A: 1\r\nx-a:  2 \r\n\r\n"
    assert read_request(io.BytesIO(raw)) == Seen("GET", "//a?b=c", (("x-a", "1"), ("x-a", "2")))


def test_bodies_are_read_in_both_framings() -> None:
    sized = read_request(io.BytesIO(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcX"))
    chunked = read_request(
        io.BytesIO(
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nt: 1\r\n\r\n"
        )
    )
    assert sized is not None
    assert chunked is not None
    assert (sized.body, chunked.body) == (b"abc", b"abc")


def test_the_end_of_a_connection_is_no_request() -> None:
    assert read_request(io.BytesIO(b"")) is None


def test_what_is_not_http_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_request(io.BytesIO(b"nonsense\r\n\r\n"))


def test_the_answer_tells_what_arrived_and_it_is_remembered_once() -> None:
    with Upstream() as upstream:
        reply = send_raw(upstream.port, request_bytes("POST", "/x?y", [("host", "a"), ("K", "v")], b"body"))
        told = json.loads(reply.body)
        assert (reply.status, told["method"], told["path"], told["body_bytes"]) == (200, "POST", "/x?y", 4)
        assert ["k", "v"] in told["headers"]
        assert [seen.path for seen in upstream.take()] == ["/x?y"]
        assert upstream.take() == []


def test_head_has_no_body_but_its_length() -> None:
    with Upstream() as upstream:
        reply = send_raw(upstream.port, request_bytes("HEAD", "/", [("host", "a")]))
        assert (reply.status, reply.body, int(reply.header("content-length")) > 0) == (200, b"", True)


def test_a_websocket_is_opened_and_echoes() -> None:
    # The key and its answer are the example of RFC 6455 section 1.3.
    with Upstream() as upstream, socket.create_connection(("127.0.0.1", upstream.port), 5) as connection:
        key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        connection.sendall(request_bytes("GET", "/live", [("host", "a"), ("upgrade", "websocket"), key]))
        head = connection.recv(4096)
        assert b" 101 " in head
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        connection.sendall(b"frame")
        assert connection.recv(16) == b"frame"


def test_a_connection_that_waits_does_not_hold_up_the_end() -> None:
    with Upstream() as upstream, socket.create_connection(("127.0.0.1", upstream.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(16).startswith(b"HTTP/1.1 200")
