from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from authz.proxy.client import Reply, request_bytes, send_raw


@contextmanager
def _server(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(65536))
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join()


def test_bytes_are_sent_as_they_are_spelled() -> None:
    data = request_bytes("GET", "//a/../b%2f", [("X_Odd", "1"), ("x-odd", "2")])
    with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (port, received):
        send_raw(port, data)
    assert received == [b"GET //a/../b%2f HTTP/1.1\r\nX_Odd: 1\r\nx-odd: 2\r\nconnection: close\r\n\r\n"]


def test_an_answer_is_read_whole() -> None:
    with _server(b"HTTP/1.1 403 No\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 2\r\n\r\nno") as (port, _):
        reply = send_raw(port, request_bytes("GET", "/"))
    assert (reply.status, reply.body, reply.header("x-a"), reply.header("none")) == (403, b"no", "1", "")


def test_a_connection_closed_without_an_answer_is_status_0() -> None:
    with _server(b"") as (port, _):
        assert send_raw(port, request_bytes("GET", "/")) == Reply(0)
