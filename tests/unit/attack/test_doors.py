"""What a reply of HTTP says about the authorization before it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from authz.attack.case import Answer, Ask, Fields, Frames, Message, Raw, Verdict
from authz.attack.dial import Dial
from authz.attack.doors import CheckDoor, Http1Door, Http2Door, echoed, told
from authz.attack.exchange import FramesDoor
from authz.attack.http1 import ANSWER_MAX_BYTES, Reply
from authz.model.address import TcpAddress

ECHO = json.dumps({"method": "GET", "path": "/a", "headers": [["X-A", "é"]]}).encode()
NOWHERE = TcpAddress("127.0.0.1", 1)  # nobody listens on port 1


@pytest.mark.parametrize(
    ("replies", "verdict", "status"),
    [
        ([], Verdict.REFUSED, 0),
        ([Reply(0)], Verdict.REFUSED, 0),
        ([Reply(200)], Verdict.ALLOWED, 200),
        ([Reply(101)], Verdict.ALLOWED, 101),
        ([Reply(100), Reply(403)], Verdict.REFUSED, 403),
        ([Reply(403), Reply(200)], Verdict.ALLOWED, 200),
        ([Reply(307)], Verdict.REFUSED, 307),
        ([Reply(501)], Verdict.REFUSED, 501),
        ([Reply(503)], Verdict.FAILED, 503),
        ([Reply(200, (("grpc-status", "16"),))], Verdict.REFUSED, 200),
        ([Reply(200, (("grpc-status", "0"),))], Verdict.ALLOWED, 200),
    ],
)
def test_a_reply_is_a_yes_a_no_or_a_failure(replies: list[Reply], verdict: Verdict, status: int) -> None:
    answer = told(replies, echo=False)
    assert (answer.verdict, answer.status, answer.seen) == (verdict, status, ())


def test_what_the_upstream_saw_is_read_from_what_it_says() -> None:
    (seen,) = told([Reply(200, (), ECHO)], echo=True).seen
    assert (seen.method, seen.path, seen.headers) == (b"GET", b"/a", ((b"x-a", b"\xe9"),))
    assert told([Reply(403, (), ECHO)], echo=True).seen == ()


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[" * 200_000, b"[]", b"{}", b'{"method": 1, "path": 2, "headers": [3]}']
)
def test_what_is_no_echo_tells_nothing(body: bytes) -> None:
    assert echoed(body) is None


def test_nobody_there_is_a_failure_and_not_a_refusal() -> None:
    dial = Dial(NOWHERE, timeout_s=1)
    doors = (Http1Door(dial, b"a", echo=False), Http2Door(dial, b"a", echo=False))
    assert [door.send(Ask(b"/")).verdict for door in doors] == [Verdict.FAILED] * 2
    assert FramesDoor(dial, b"a").send(Frames()).verdict is Verdict.FAILED
    with CheckDoor(NOWHERE, b"a", 1, raw=True) as door:
        assert door.send(Ask(b"/")).verdict is Verdict.FAILED


def test_a_door_refuses_what_it_cannot_carry() -> None:
    dial = Dial(NOWHERE)
    with pytest.raises(TypeError):
        Http1Door(dial, b"a", echo=False).send(Message(b""))
    with pytest.raises(TypeError):
        Http2Door(dial, b"a", echo=False).send(Raw(b""))
    with pytest.raises(TypeError):
        FramesDoor(dial, b"a").send(Ask(b"/"))
    with pytest.raises(TypeError), CheckDoor(NOWHERE, b"a", 1, raw=True) as door:
        door.send(Fields(()))


# --- targets that want to hurt who attacks them


@contextmanager
def hostile(answer: Callable[[socket.socket], object]) -> Iterator[TcpAddress]:
    """A server that does as it likes with each connection."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=obey, args=(connection,), daemon=True).start()

    def obey(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield TcpAddress("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_an_answer_that_cannot_be_read_is_a_failure_and_no_crash(reply: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(reply)

    with hostile(answer) as address:
        found = Http1Door(Dial(address), b"a", echo=True).send(Ask(b"/"))
    assert (found.verdict, found.note) == (Verdict.FAILED, "the answer cannot be read")


@pytest.mark.parametrize("status", ["abc", "\xb2\xb2\xb2"])
def test_a_status_of_http2_that_is_no_number_is_a_failure(status: str) -> None:
    def answer(connection: socket.socket) -> None:
        link = server_side(connection)
        link.send_headers(1, [(":status", status)], end_stream=True)
        connection.sendall(link.data_to_send())
        connection.recv(65536)

    with hostile(answer) as address:
        assert Http2Door(Dial(address), b"a", echo=True).send(Ask(b"/")).verdict is Verdict.FAILED


def test_of_an_answer_of_http2_that_does_not_end_no_more_is_read_than_of_others() -> None:
    def answer(connection: socket.socket) -> None:
        link = server_side(connection)
        link.send_headers(1, [(":status", "200")])
        while True:
            while window := min(link.local_flow_control_window(1), 16384):
                link.send_data(1, b"x" * window)
            connection.sendall(link.data_to_send())
            link.receive_data(connection.recv(65536))

    with hostile(answer) as address:
        found = Http2Door(Dial(address, timeout_s=60), b"a", echo=False).send(Ask(b"/"))
    assert found.verdict is Verdict.ALLOWED
    assert ANSWER_MAX_BYTES < len(found.body) < ANSWER_MAX_BYTES + 65536


def test_a_target_that_dribbles_for_ever_is_left_after_the_timeout() -> None:
    left = threading.Event()

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            while not left.wait(0.02):
                connection.sendall(b"x")

    with hostile(answer) as address:
        door = FramesDoor(Dial(address, timeout_s=0.2), b"a")
        found: list[Answer] = []
        trying = threading.Thread(target=lambda: found.append(door.send(Frames(opening=b"x"))), daemon=True)
        trying.start()
        trying.join(20)
        left.set()
    assert [each.verdict for each in found] == [Verdict.SILENT]


def test_words_of_a_target_cannot_command_a_terminal() -> None:
    def abort(_: bytes, context: Any) -> None:
        context.abort(grpc.StatusCode.INTERNAL, "\x1b]0;title\x07\nline")

    class Anything(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
        def service(self, _: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(abort)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Anything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with CheckDoor(TcpAddress("127.0.0.1", port), b"a", 10, raw=True) as door:
        note = door.send(Ask(b"/")).note
    server.stop(None)
    assert note.isprintable()
    assert "title" in note
    assert told([Reply(200, (("grpc-status", "\x1b[2J"),))], echo=False).note.isprintable()


def test_a_check_goes_to_the_target_and_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC alone of our three libraries would obey these variables."""
    reached: list[bytes] = []
    with hostile(lambda connection: reached.append(connection.recv(100))) as proxy:
        for name in ("no_grpc_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://{proxy}")
        with CheckDoor(NOWHERE, b"a", 1, raw=True) as door:
            assert door.send(Ask(b"/")).verdict is Verdict.FAILED
    assert reached == []


def server_side(connection: socket.socket) -> H2Connection:
    """Take a connection up to its first request."""
    link = H2Connection(
        H2Configuration(client_side=False, validate_outbound_headers=False, header_encoding="latin-1")
    )
    link.initiate_connection()
    connection.sendall(link.data_to_send())
    while link.open_inbound_streams == 0:
        link.receive_data(connection.recv(65536))
    return link
