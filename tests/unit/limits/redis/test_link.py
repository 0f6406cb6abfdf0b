from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from authz.limits.redis.errors import ErrorReply, LinkFailed
from authz.limits.redis.link import HANGUP, Link
from authz.model.address import TcpAddress
from tests.support.certificates import Authority

HERE = TcpAddress("127.0.0.1", 6379)


@contextmanager
def pair() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    link = Link(ours, HERE)
    with theirs:
        yield link, theirs
    link.close()


def soon(seconds: float = 5.0) -> float:
    return monotonic() + seconds


def received(link: Link, count: int, deadline_s: float) -> tuple[str, list[object]]:
    replies: list[object] = []
    return link.receive(replies, count, deadline_s), replies


def test_replies_are_read_in_order_however_they_are_cut() -> None:
    with pair() as (link, theirs):
        data = b"*2\r\n:1\r\n:-1\r\n-OOM no room\r\n"

        def cut() -> None:
            for byte in data:
                theirs.sendall(bytes([byte]))

        thread = threading.Thread(target=cut)
        thread.start()
        why, replies = received(link, 2, soon())
        thread.join()
        assert why == ""
        assert replies[0] == [1, -1]
        assert isinstance(replies[1], ErrorReply)
        assert replies[1].word == "oom"


def test_a_server_that_drips_is_not_waited_for_longer_than_one_that_says_nothing() -> None:
    with pair() as (link, theirs):
        done = threading.Event()

        def drip() -> None:
            while not done.wait(0.01):
                theirs.sendall(b"*9\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        why, _ = received(link, 1, soon(0.2))
        done.set()
        thread.join()
        assert why == "timeout"


def test_what_came_before_something_went_wrong_is_kept() -> None:
    with pair() as (link, theirs):
        theirs.sendall(b"*1\r\n:5\r\n*1\r\n")
        theirs.shutdown(socket.SHUT_WR)
        assert received(link, 2, soon()) == ("closed", [[5]])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x01\x02\x03",
        b"*4294967294\r\n:1\r\n",
        b"*1\r\n*99999999\r\n",
        b"$-7\r\n",
        b"*-9\r\n",
        b":12a\r\n",
    ],
)
def test_nonsense_is_told_from_an_answer(data: bytes) -> None:
    with pair() as (link, theirs):
        theirs.sendall(data)
        assert received(link, 1, soon())[0] == "broken"


@pytest.mark.parametrize(
    "data", [b"*999999999\r\n:1\r\n", b"*2\r\n>100000\r\n", b"*1\r\n|999999999\r\n", b"~123456\r\n"]
)
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_no_room_is_made_for_a_list_that_nobody_means_however_its_length_comes(
    data: bytes, size: int
) -> None:
    """Room for a billion would keep the collector of garbage, and so everybody, for seconds."""
    ours = Queue([data[at : at + size] for at in range(0, len(data), size)])
    link = Link(ours, HERE)
    assert received(link, 1, soon()) == ("broken", [])
    link.close()


class Queue(socket.socket):
    """A connection that hands out one piece at each read."""

    def __init__(self, pieces: list[bytes]) -> None:
        ours, self._theirs = socket.socketpair()
        self._theirs.sendall(b"!")  # readable for ever
        self._pieces = pieces
        super().__init__(fileno=ours.detach())

    def recv_into(self, buffer: bytearray, *_: object) -> int:  # type: ignore[override]  # as it is called
        if not self._pieces:
            raise BlockingIOError
        piece = self._pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._theirs.close()
        super().close()


@pytest.mark.parametrize("head", [b"$536870912\r\n", b"+", b"-ERR ", b"*99999\r\n"])
def test_an_answer_that_does_not_end_is_cut_off_long_before_memory_is(head: bytes) -> None:
    piece = b":1\r\n" * 16_384
    pieces = [head, *[piece] * 4096]
    link = Link(Queue(pieces), HERE)
    assert received(link, 1, soon(60.0)) == ("broken", [])
    assert len(pieces) > 4000
    link.close()


def test_an_answer_that_always_has_a_little_more_is_waited_for_no_longer_than_any() -> None:
    link = Link(Queue([b"*9\r\n", *[b":1\r\n"] * 9]), HERE)
    assert received(link, 1, soon(-1.0)) == ("timeout", [])
    link.close()


def test_more_answers_than_questions_answer_nothing() -> None:
    with pair() as (link, theirs):
        theirs.sendall(b"*1\r\n:1\r\n*1\r\n:2\r\n")
        assert received(link, 1, soon()) == ("broken", [])


def test_bytes_that_are_no_text_in_an_error_do_no_harm() -> None:
    with pair() as (link, theirs):
        theirs.sendall(b"-ERR \xff\xfe\r\n")
        _, replies = received(link, 1, soon())
        assert isinstance(replies[0], ErrorReply)


def test_a_question_larger_than_the_sockets_room_is_sent_as_a_whole_or_not_in_time() -> None:
    data = b"x" * 4_000_000
    with pair() as (link, theirs):
        assert link.send(data, soon(0.05)) == "timeout"
    with pair() as (link, theirs):
        got = bytearray()
        thread = threading.Thread(target=lambda: got.extend(_all(theirs, len(data))))
        thread.start()
        assert link.send(data, soon()) == ""
        thread.join()
        assert got == data


def _all(line: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        parts += line.recv(65_536)
    return bytes(parts)


def test_writing_to_one_who_left_is_told() -> None:
    with pair() as (link, theirs):
        theirs.close()
        assert link.send(b"x", soon()) == "closed"
        assert received(link, 1, soon())[0] == "closed"


def test_it_is_quiet_until_something_comes_that_nobody_asked_for() -> None:
    with pair() as (link, theirs):
        assert link.is_quiet()
        theirs.sendall(b"*1\r\n:1\r\n")
        assert not link.is_quiet()
    with pair() as (link, theirs):
        theirs.close()
        assert not link.is_quiet()


def test_who_watches_for_a_hangup_hears_of_none_but_that() -> None:
    with pair() as (link, theirs):
        poll = select.poll()
        poll.register(link, HANGUP)
        theirs.sendall(b"data")
        assert not poll.poll(0)
        theirs.shutdown(socket.SHUT_WR)
        assert poll.poll(0)
    with pair() as (link, _):
        poll = select.poll()
        poll.register(link, HANGUP)
        link.fail("timeout")
        link.fail("closed")
        assert poll.poll(0)
        assert link.why == "timeout"


def test_one_command_gets_its_answer_or_a_line_that_says_why_not() -> None:
    with pair() as (link, theirs):
        theirs.sendall(b"+PONG\r\n")
        assert link.ask(soon(), "PING") == b"PONG"
        assert theirs.recv(100) == b"*1\r\n$4\r\nPING\r\n"
        with pytest.raises(LinkFailed, match=r"^127.0.0.1:6379: does not answer in time$") as raised:
            link.ask(soon(0.01), "PING")
        assert raised.value.why == "timeout"


@contextmanager
def secured(tmp_path: Path) -> Iterator[tuple[Link, ssl.SSLSocket]]:
    authority = Authority()
    ours, theirs = socket.socketpair()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*authority.server().written(tmp_path, "server"))
    asking = ssl.create_default_context(cafile=str(authority.written(tmp_path)))
    served: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: served.append(serving.wrap_socket(theirs, server_side=True)))
    thread.start()
    link = Link(asking.wrap_socket(ours, server_hostname="authz.test"), HERE)
    thread.join()
    with served[0]:
        yield link, served[0]
    link.close()


def test_over_tls_everything_is_the_same(tmp_path: Path) -> None:
    with secured(tmp_path) as (link, theirs):
        # The server's tickets have come, and nobody asked for them: they are no answers.
        assert link.is_quiet()
        theirs.sendall(b"*1\r\n:1\r\n" * 3000)
        assert received(link, 3000, soon()) == ("", [[1]] * 3000)
        assert link.is_quiet()
        assert received(link, 1, soon(0.02))[0] == "timeout"
        theirs.sendall(b"*1\r\n:1\r\n")
        assert not link.is_quiet()
        assert received(link, 1, soon(0.02))[0] != "", (
            "what was looked at is gone: the link is of no more use"
        )


def test_over_tls_a_large_question_is_sent_as_a_whole_or_not_in_time(tmp_path: Path) -> None:
    data = b"x" * 4_000_000
    with secured(tmp_path) as (link, theirs):
        got = bytearray()
        thread = threading.Thread(target=lambda: got.extend(_all(theirs, len(data))))
        thread.start()
        assert link.send(data, soon()) == ""
        thread.join()
        assert got == data
        assert link.send(data, soon(0.05)) == "timeout"


def test_over_tls_a_good_bye_is_one(tmp_path: Path) -> None:
    with secured(tmp_path) as (link, theirs):
        theirs.close()
        assert not link.is_quiet()
        assert received(link, 1, soon())[0] == "closed"
