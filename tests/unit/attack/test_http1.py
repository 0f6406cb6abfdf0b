"""Bytes out as they are given, and every answer that comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from authz.attack.case import Ask
from authz.attack.dial import Dial
from authz.attack.http1 import Reply, pairs_of, parse, request_bytes, send
from authz.model.address import TcpAddress

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def test_nothing_is_mended_on_the_way_out() -> None:
    ask = Ask(b"/a b%zz\\..", b"GE T", b"h\0", ((b"X_y", b" v "),), body=b"1")
    assert request_bytes(ask, b"ignored") == (
        b"GE T /a b%zz\\.. HTTP/1.1\r\nhost: h\0\r\nX_y:  v \r\n"
        b"content-length: 1\r\nconnection: close\r\n\r\n1"
    )
    assert b"connection: close" not in request_bytes(Ask(b"/", headers=((b"Connection", b"x"),)), b"h")


def test_a_header_list_has_its_pseudo_headers_first_and_lower_case_names() -> None:
    pairs = pairs_of(Ask(b"/a", headers=((b"X-Y", b"Z"),)), b"h")
    assert pairs == (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"h"),
        (b":path", b"/a"),
        (b"x-y", b"Z"),
    )


@pytest.mark.parametrize(
    ("received", "bodies"),
    [
        (OK, [b"hi"]),
        (OK + OK, [b"hi", b"hi"]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, [b"", b"hi"]),
        (CHUNKED + b"2;x\r\nhi\r\n1\r\n!\r\n0\r\n\r\n" + OK, [b"hi!", b"hi"]),
        (b"HTTP/1.0 204 No\r\n\r\n", [b""]),
        (OK[:-1], []),
        (CHUNKED + b"5\r\nhi", []),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", []),
        (b"nonsense\r\n\r\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_whole_answers_are_found(received: bytes, bodies: list[bytes]) -> None:
    assert [reply.body for reply in parse(received)] == bodies


def test_at_the_end_of_a_connection_what_is_there_counts() -> None:
    assert [reply.body for reply in parse(OK[:-1], ended=True)] == [b"h"]
    assert [reply.body for reply in parse(b"HTTP/1.1 200 OK\r\n\r\nhi", ended=True)] == [b"hi"]
    assert [reply.status for reply in parse(CHUNKED + b"5\r\nhi", ended=True)] == [200]
    assert [reply.body for reply in parse(OK[:-2] + OK, head=True)] == [b"", b""]


@contextmanager
def _server(*chunks: bytes, close: bool = True) -> Iterator[Dial]:
    """Answer one connection with these bytes, whatever it says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for chunk in chunks:
                    connection.sendall(chunk)
                if not close:
                    connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Dial(TcpAddress("127.0.0.1", listener.getsockname()[1]), timeout_s=2)
        thread.join()


def test_two_answers_to_one_request_are_both_seen() -> None:
    with _server(OK, OK) as dial:
        assert [reply.status for reply in send(dial, b"x")] == [200, 200]


def test_an_open_connection_is_not_waited_for_once_there_is_an_answer() -> None:
    with _server(OK, close=False) as dial:
        assert send(dial, b"x") == [Reply(200, (("content-length", "2"),), b"hi")]
    closing = OK.replace(b"content", b"connection: close\r\ncontent")
    with _server(closing, close=False) as dial:
        assert [reply.header("connection") for reply in send(dial, b"x")] == ["close"]


def test_a_closed_connection_is_no_answer_and_silence_takes_as_long_as_it_may() -> None:
    with _server() as dial:
        assert send(dial, b"x") == []
    with _server(close=False) as dial, pytest.raises(TimeoutError):
        send(Dial(dial.address, timeout_s=0.2), b"x")
